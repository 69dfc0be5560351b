"""The native module."""

from collections.abc import Callable
from typing import Any

__version__: str
llvm_version: str

class CompileError(ValueError):
    """A model was refused. The message is that of the command `sparsec`."""

class RunError(RuntimeError):
    """A compiled model refused a run."""

    status: int | None
    """The code of the C interface (docs/c-abi.md), where it has one."""

_PortTuple = tuple[str, str, list[int | str | None]]
_Source = str | tuple[bytes, str | None]

class Library:
    @property
    def name(self) -> str: ...
    @property
    def symbols(self) -> list[str]: ...
    @property
    def inputs(self) -> list[_PortTuple]: ...
    @property
    def outputs(self) -> list[_PortTuple]: ...
    @property
    def report(self) -> str | None: ...
    @property
    def files(self) -> list[Any]: ...
    @staticmethod
    def open(path: str, name: str, threads: int) -> Library: ...
    def run(self, values: list[Any]) -> list[Any]: ...

def compile(
    source: _Source, options: dict[str, Any], threads: int, progress: Callable[[str, int, int], object] | None
) -> Library: ...
def inspect(source: _Source, options: dict[str, Any], progress: Callable[[str, int, int], object] | None) -> str: ...
def stages() -> list[str]: ...
