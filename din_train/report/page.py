"""The frame of every page: templates that escape what they are given, one style, nothing loaded from elsewhere."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from din_train.evaluation.metric_tables import format_interval, format_metric
from din_train.printable import make_lines_printable
from din_train.report.plots import to_svg


@dataclass(frozen=True)
class Picture:
    """A figure, its caption, and what it shows for those who do not see it."""

    name: str
    figure: Figure
    caption: str
    description: str

    @property
    def svg(self) -> Markup:
        """The element; matplotlib has escaped the texts in it."""
        svg = to_svg(self.figure, name=self.name, description=self.description)
        return Markup(svg)  # noqa: S704


def render_page(template: str, **values: Any) -> str:
    """Fill `templates/<template>.html`; every value is made printable and escaped.

    Raises:
        jinja2.UndefinedError: if the template needs a value that is not given.
    """
    return _build_environment().get_template(f"{template}.html").render(values)


@cache
def _build_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("din_train.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: make_lines_printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = format_metric
    environment.filters["interval"] = format_interval
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment
