"""A report as a page: a title, facts and tables, drawn for terminals, as Markdown and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from costlab.formatting import facts as header
from costlab.formatting import notebook
from costlab.formatting import table as tables
from costlab.formatting.escaping import markdown_text, visible
from costlab.formatting.facts import Fact
from costlab.formatting.table import Table


@dataclass(frozen=True)
class Page:
    """A title, facts about what it names, and tables below them."""

    title: str
    facts: Sequence[Fact]
    tables: Sequence[Table]

    def text(self, width: int, ascii_only: bool = False) -> Group:
        """For terminals and pipes, `width` cells wide."""
        parts: list[RenderableType] = [Text(visible(self.title), style="bold"), header.text(self.facts)]
        for table in self.tables:
            parts += [Text(), tables.text(table, width, ascii_only)]
        return Group(*parts)

    def markdown(self) -> str:
        """For issues and pull requests: a heading, a list, and the tables."""
        facts = "\n".join(header.markdown(self.facts))
        return "\n\n".join([f"### {markdown_text(self.title)}", facts, *map(tables.markdown, self.tables)]) + "\n"

    def html(self) -> str:
        """For notebooks."""
        return notebook.page(self.title, header.html(self.facts), *map(tables.html, self.tables))
