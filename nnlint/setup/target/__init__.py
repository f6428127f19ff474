"""From a target string or object to the thing it names."""
