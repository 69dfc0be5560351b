"""What was found in each weight of a model, and what was chosen for it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import _native, _options

_COLUMNS = ["tensor", "shape", "pattern", "density", "chosen", "predicted_ms", "bytes", "reason"]


class Inspection:
    """The account of a compilation. In a notebook it is shown as a table."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def to_dict(self) -> dict[str, Any]:
        """Everything that `sparsec inspect --json` tells."""
        return self._data

    @property
    def weights(self) -> list[dict[str, Any]]:
        """One entry for each weight of a contraction or convolution."""
        return self._data["weights"]

    def table(self) -> Any:
        """A row for each weight: a DataFrame where pandas is installed, otherwise a dict of columns."""
        columns = {name: [weight[name] for weight in self.weights] for name in _COLUMNS}
        try:
            import pandas
        except ImportError:
            return columns
        return pandas.DataFrame(columns)

    def _summary(self) -> str:
        d = self._data
        kept = d["kept_macs"] / d["read_macs"] if d["read_macs"] else 1.0
        return (
            f"{d['model']}: {len(self.weights)} weights, {kept:.1%} of the multiply-adds kept, "
            f"{d['constant_bytes'] / 1e6:.2f} MB, predicted {d['predicted_ms']:.3f} ms"
        )

    def _rows(self) -> list[list[str]]:
        def cell(name: str, value: Any) -> str:
            if name == "shape":
                return "x".join(map(str, value))
            if name == "density":
                return f"{value:.3f}"
            if name == "predicted_ms":
                return f"{value:.4f}"
            return str(value)

        return [[cell(name, weight[name]) for name in _COLUMNS] for weight in self.weights]

    def __str__(self) -> str:
        rows = [_COLUMNS, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([self._summary(), *lines])

    def __repr__(self) -> str:
        return f"<sparsec.Inspection {self._summary()}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in _COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self._rows())
        return f"<p>{html.escape(self._summary())}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def inspect(
    model: Any,
    *,
    cpu: str = "native",
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, Any] | None = None,
    items: Mapping[str, int | Sequence[Sequence[int]]] | None = None,
    formats: Mapping[str, str] | None = None,
    progress: bool | _options.Progress | None = None,
) -> Inspection:
    """What would be chosen for each weight of a model, without making code. The arguments are those of `compile`."""
    wanted = _options.options(cpu=cpu, dims=dims, bind=bind, items=items, formats=formats)
    return Inspection(json.loads(_native.inspect(_options.source(model), wanted, _options.progress(progress))))
