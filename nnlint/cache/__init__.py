"""Answers for targets that have not changed: `.nnlint_cache/` beside the configuration, without importing torch.

    recording   in the process that checks: what the target imports, reads, looks for and asks the environment for
    places      which files are the user's, and what a file's content is
    closure     what was recorded, as it was then, and whether it is still so
    surroundings   versions of everything installed, the machine, the rules
    store       the entries in the folder

An entry answers only if the target's settings, the surroundings and the whole closure are what they were. Whatever the recording
could not follow (another program, the network, a file that changed during the check) is an obstacle: nothing is stored.
"""
