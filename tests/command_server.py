"""Starts commands without the six seconds that importing TensorFlow takes.

A process of its own that has imported everything, and forks for each command. It reads
JSON lines and answers each by one:

    {"module": "trainers.train", "args": [...], "out": path}  ->  {"pid": 123}
    {"file": "probe.py", "args": [...], "out": path}          ->  {"pid": 123}
    {"wait": 123}                                             ->  {"code": -9}

A request may name the folder "cwd" to run in.
A code below 0 is the number of the signal that killed the command.
"""

import json
import os
import runpy
import sys
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402, F401
import tensorflow  # noqa: E402, F401

import trainers.loop  # noqa: E402, F401
import trainers.run_flags  # noqa: E402, F401


def run(request) -> int:
    sys.argv = [request.get("file", "command"), *request["args"]]
    try:
        if "file" in request:
            runpy.run_path(request["file"], run_name="__main__")
        else:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        return 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return 1 if isinstance(error.code, str) else error.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def start(request) -> int:
    pid = os.fork()
    if pid:
        return pid
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.chdir(request.get("cwd") or ".")
    code = run(request)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for line in sys.stdin:
    message = json.loads(line)
    if "wait" in message:
        status = os.waitpid(message["wait"], 0)[1]
        answer = {"code": os.waitstatus_to_exitcode(status)}
    else:
        answer = {"pid": start(message)}
    print(json.dumps(answer), flush=True)
