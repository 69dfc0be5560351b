"""Lets several engines take turns, each in a process of its own that stays alive between its turns.

    with Contest(starts, machine, guard) as contest:
        times = contest.run(rounds=7, seconds=0.5)

A machine that others share changes its speed within minutes. Here every engine meets every phase of it, and what the
benchmark reports is a ratio of two medians of one contest.
"""

import json
import shlex
import subprocess
import tempfile
import time


class EngineError(Exception):
    """An engine that can't run a model; the message is one line."""


class Guard:
    """Keeps a shared machine quiet while it is measured, where a command to do so is given.

    The command is started before a round; it echoes a line as soon as the machine is ours, and is told to end by the end
    of its input. `flock FILE cat` is such a command. Rounds follow each other under one command until LONGEST seconds are
    over, so that others get their turn, too.
    """

    LONGEST = 45.0

    def __init__(self, command):
        self._command = shlex.split(command or "")
        self._process = None
        self._since = 0.0

    def acquire(self):
        """Before each round."""
        if self._process and time.monotonic() - self._since > self.LONGEST:
            self.release()
        if self._command and not self._process:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
            self._process.stdin.write("quiet\n")
            self._process.stdin.flush()
            if not self._process.stdout.readline():
                raise SystemExit(f"the guard {shlex.join(self._command)!r} did not echo its input")
            self._since = time.monotonic()

    def release(self):
        """After the last round."""
        if self._process:
            self._process.communicate()  # closes its input, and both pipes
            self._process = None


class Engine:
    """A process that answers turns."""

    def __init__(self, command):
        self._log = tempfile.TemporaryFile("w+")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [str(word) for word in command], stdin=pipe, stdout=pipe, stderr=self._log, text=True
        )
        self.version = None

    def wait(self):
        """Until the model is loaded."""
        self.version = self._answer().get("version")

    def turn(self, seconds):
        """What the process measured in that time."""
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None
        return self._answer()

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def pid(self):
        return self._process.pid

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        return json.loads(line)

    def _failure(self):
        code = self._process.wait()
        self._log.seek(0)
        said = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return EngineError(f"exit code {code}: {said[-1][:300] if said else 'no message'}")


class Contest:
    """The engines of one model, and beside them the program that measures the machine."""

    def __init__(self, starts, machine, guard):
        """`starts` are commands by key; keys of those that fail are in `failed` with the reason."""
        self.engines, self.failed, self.versions = {}, {}, {}
        self._machine, self._guard = machine, guard
        # One after the other: an engine may choose its kernels by timing them while it loads.
        for key, command in starts.items():
            engine = Engine(command)
            try:
                engine.wait()
                self.engines[key], self.versions[key] = engine, engine.version
            except EngineError as error:
                self.failed[key] = str(error)
                engine.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._guard.release()
        for engine in self.engines.values():
            engine.close()

    def run(self, rounds, seconds):
        """Milliseconds by key, and the machine's measurements: `rounds` turns of so many seconds each."""
        times, machine = {key: [] for key in self.engines}, []
        for number in range(rounds):
            # Each round begins with another engine, so that none always follows the same one.
            keys = list(self.engines)
            shift = number % max(len(keys), 1)
            self._guard.acquire()
            machine.append(self._machine.turn(0))
            for key in keys[shift:] + keys[:shift]:
                if key in self.engines:
                    self._turn(key, seconds, times)
        self._guard.release()
        return times, machine

    def _turn(self, key, seconds, times):
        try:
            times[key] += self.engines[key].turn(seconds)["ms"]
        except EngineError as error:
            self.failed[key] = str(error)
            self.engines.pop(key).close()
            times.pop(key)
