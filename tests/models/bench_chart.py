"""Charts as SVG, drawn without a library, for light and dark pages."""

from xml.sax.saxutils import escape

COLOURS = ["#2f6fde", "#d9822b", "#3a9d5d", "#b5408f", "#7a5cc4", "#8a6d3b", "#5f6b7a"]
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}"
    "line{stroke:#999;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}line{stroke:#666}}"
)


def _svg(width, height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def _text(x, y, text, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1, y1, x2, y2):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def targets(rows):
    """A bar for each row of the table of targets, in units of the target; the line at 1 is the target."""
    rows = [row for row in rows if row["measured"] is not None]
    left, right, step = 330, 60, 22
    scale = 420 / max([row["measured"] / row["target"] for row in rows] + [1.2])
    height = step * len(rows) + 44
    parts = [_text(left + scale, 16, "target", "middle"), _line(left + scale, 22, left + scale, height - 16)]
    for number, row in enumerate(rows):
        y, share = 28 + number * step, row["measured"] / row["target"]
        colour = COLOURS[2] if share >= 1 else COLOURS[1]
        label = f"{row['model']} / {row['against']}"
        parts.append(_text(left - 8, y + 12, label if len(label) < 52 else label[:50] + "…", "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{scale * share:.1f}" height="{step - 6}" fill="{colour}" rx="2"/>')
        value = f"{row['measured']:.2f}x" if row["unit"] == "x" else f"{row['measured']:.0f} %"
        parts.append(_text(left + scale * share + 6, y + 12, value))
    return _svg(left + 420 + right, height, parts)


def panels(charts, x_label, y_label):
    """Small line charts, three a row: {title: {series: [(x, y)]}}. All share one scale of x; y starts at 0."""
    width, height, columns = 300, 220, 3
    names = list(dict.fromkeys(name for chart in charts.values() for name in chart))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    every = [point for chart in charts.values() for series in chart.values() for point in series]
    x_max = max([x for x, _ in every] + [0.1]) * 1.05
    parts = []
    for i, name in enumerate(names):
        parts.append(f'<rect x="{12 + i * 130}" y="10" width="12" height="12" fill="{colour[name]}"/>')
        parts.append(_text(30 + i * 130, 20, name))
    for number, (title, chart) in enumerate(charts.items()):
        x0, y0 = number % columns * width + 42, number // columns * height + 56
        w, h = width - 60, height - 66
        y_max = max([y for series in chart.values() for _, y in series] + [1]) * 1.1
        at = lambda x, y: (x0 + x / x_max * w, y0 + h - y / y_max * h)
        parts += [_text(x0, y0 - 8, title), _line(x0, y0 + h, x0 + w, y0 + h), _line(x0, y0, x0, y0 + h)]
        parts += [_text(x0 - 4, y0 + h, "0", "end"), _text(x0 - 4, y0 + 10, f"{y_max:.0f}", "end")]
        parts.append(_text(x0 + w, y0 + h + 13, f"{x_max:.1f}", "end"))
        for name, series in chart.items():
            points = [at(x, y) for x, y in sorted(series)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour[name]}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour[name]}"/>' for x, y in points]
    rows_of_charts = -(-len(charts) // columns)
    parts.append(_text(42, rows_of_charts * height + 52, f"{y_label} over {x_label}"))
    return _svg(columns * width, rows_of_charts * height + 64, parts)
