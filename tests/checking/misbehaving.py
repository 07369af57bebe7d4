"""A program that knows softmax and its vjp and behaves as its argument says: well, or badly from some call on."""

import base64
import json
import os
import signal
import sys
import time

import numpy as np

THIRD = 3  # the call at which most of it begins


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (delta - (s * delta).sum())


def taken(array):
    numbers = np.frombuffer(base64.b64decode(array["data"]), array["dtype"])
    return numbers.reshape(array["shape"])


def given(array):
    data = base64.b64encode(array.tobytes()).decode()
    return {"shape": list(array.shape), "dtype": array.dtype.name, "data": data}


def say(message):
    print(message if isinstance(message, str) else json.dumps(message), flush=True)


def fine(message):
    arrays = [taken(array) for array in message["arguments"]]
    return {"id": message["id"], "results": [given(globals()[message["function"]](*arrays))]}


def rows(message, factor):
    """The vjp of a batch, which no other way here takes."""
    delta, x = (taken(array) for array in message["arguments"])
    pairs = zip(delta.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1]), strict=True)
    each = [factor * softmax_vjp(*pair) for pair in pairs]
    return {"id": message["id"], "results": [given(np.reshape(each, x.shape).astype(x.dtype))]}


def changed(**more):
    return lambda message: say({**fine(message), **more})


def array(**more):
    return lambda message: say({**fine(message), "results": [{**fine(message)["results"][0], **more}]})


def memory(message):
    kept = [bytearray(1 << 20) for _ in range(400)]
    time.sleep(600)
    return kept


def no_error(message):
    say({"id": message["id"], "error": "no luck\x1b[31m today"})


BADLY = {
    "crash": lambda message: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda message: sys.exit(3),
    "words": lambda message: sys.exit("out of paper"),
    "hang": lambda message: time.sleep(600),
    "memory": memory,
    "close": lambda message: (os.close(1), time.sleep(600)),
    "half": lambda message: (print('{"id": "', end="", flush=True), sys.exit(0)),
    "broken": lambda message: say('{"id": }'),
    "empty": lambda message: say(""),
    "twice": lambda message: (say(fine(message)), say(fine(message))),
    "garbage": lambda message: print("x" * 2**20, end="", flush=True),
    "garbage_in_braces": lambda message: print("{" * 2**20, flush=True),
    "chatty": lambda message: (say("debug: here"), say(fine(message))),
    "wrong_id": changed(id="another"),
    "no_id": lambda message: say({"results": []}),
    "no_result": lambda message: say({"id": message["id"]}),
    "two_answers": changed(skipped="and skipped"),
    "unknown_field": changed(time=0.1),
    "error": no_error,
    "none": changed(results=[]),
    "too_many": lambda message: say({**fine(message), "results": [*fine(message)["results"]] * 3}),
    "short": array(data="AAAA"),
    "decimals": array(data=["0.1", "0.2"], shape=[2]),
    "numbers": array(data=[0.1, 0.2], shape=[2]),
    "dtype": array(dtype="float65"),
    "not_float32": array(dtype="float32", shape=[1], data=["0x1.999999999999ap-4"]),
    "negative": array(shape=[-1]),
}
START = {
    "mute": lambda: time.sleep(600),
    "gone": lambda: sys.exit("no licence"),
    "nothing": lambda: say({"name": "fake", "language": "Python", "functions": []}),
    "babble": lambda: say("Welcome to fake 1.0"),
    "no_name": lambda: say({"functions": ["softmax"]}),
    "lying": lambda: say(
        {"name": "fake", "language": "Python", "functions": ["tanh", "tanh_vjp"], "numbers": "base64"}
    ),
}
ROWS = {"forward_skips_batches": 1, "forward_skips_wrong_batches": 2}  # the factor of the vjp's rows
WELL = {"name": "fake", "language": "Python", "functions": ["softmax", "softmax_vjp"], "numbers": "base64"}


def called(how, number, message):
    """Answers the call of that number, or not."""
    dtype = message["arguments"][0]["dtype"]
    if how == "talks":  # on standard error, where it may
        print("debug: " + "x" * 2**16, file=sys.stderr)
    if how == "skips" and dtype != "float64":
        say({"id": message["id"], "skipped": f"no {dtype} here"})
    elif how == "skips_batches" and len(message["arguments"][-1]["shape"]) != 1:
        say({"id": message["id"], "skipped": "one vector at a time"})
    elif how in ROWS and len(message["arguments"][-1]["shape"]) != 1:
        skipped = {"id": message["id"], "skipped": "the forward takes one vector"}
        say(rows(message, ROWS[how]) if message["function"] == "softmax_vjp" else skipped)
    elif message["function"] not in globals():
        say({"id": message["id"], "error": f"no function {message['function']}"})
    elif how == "only_decimals":
        BADLY["decimals"](message)
    elif how == "always_crash" or (how in BADLY and number >= THIRD):
        BADLY.get(how, BADLY["crash"])(message)
    else:
        say(fine(message))


def main(how):
    number = 0
    for line in sys.stdin:
        message = json.loads(line)
        if message["do"] == "stop":
            break
        if message["do"] == "start":
            START.get(how, lambda: say(WELL))()
        else:
            number += 1
            called(how, number, message)


if __name__ == "__main__":
    main(sys.argv[1])
