"""Runs checks in child processes: a model that hangs, exits or crashes cannot take the report with it.

    parent --commands (pipe)--> server --fork--> a job for each target
    parent <--events, messages (files)-- server, jobs

The server imports torch once and forks a job for each target: targets cannot change each other's process, and the second
one costs no second import. It never runs code of the user's. Where a fork is not safe every job is a new process.
A job appends one frame (a line of JSON) to its file after every stage of a check, and one when it is done. Files rather
than pipes: processes that the user's code leaves behind cannot hold them open.
"""

from nnlint.worker.job import check_here
from nnlint.worker.parent import Limits, OnStep, Task, check, check_tasks, check_tasks_here
from nnlint.worker.reports import Answer, Checked

__all__ = ["Answer", "Checked", "Limits", "OnStep", "Task", "check", "check_here", "check_tasks", "check_tasks_here"]
