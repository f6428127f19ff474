"""Where a process of the worker starts: run as a file, so that neither `-m` nor `-c` puts the working directory on `sys.path`.

A `cuda.py` that lies there would be found by torch's own imports. What a target needs on the path is put there for it.
"""

import sys

if __name__ == "__main__":
    import os

    _here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib imports what may be shadowed
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _here]  # noqa: PTH100
    try:
        import nnlint.worker  # noqa: F401
    except ModuleNotFoundError:  # run from a checkout that is not installed
        sys.path.append(os.path.dirname(os.path.dirname(_here)))  # noqa: PTH120
    if sys.argv[1] == "serve":
        from nnlint.worker.server import main
    else:
        from nnlint.worker.job import main
    main()
