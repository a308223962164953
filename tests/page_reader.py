"""What a page holds, as a reader of HTML sees it."""

from collections.abc import Iterator
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class PageReader(HTMLParser):
    """Elements, texts and ids; `mistakes` are end tags that close nothing and elements that stay open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.mistakes: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.mistakes += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.mistakes.append(f"</{tag}> inside {self._open[-1:]}")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", " ".join(data.split())))

    def find(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for each, attributes in self.elements if each == tag)

    def read(self, *tags: str) -> list[str]:
        """The texts directly inside these elements; of all but style, without any."""
        return [text for tag, text in self.texts if (tag in tags if tags else tag != "style")]

    @property
    def text(self) -> str:
        return " ".join(self.read())

    @property
    def ids(self) -> list[str]:
        return [each["id"] or "" for _, each in self.elements if "id" in each]
