"""The site's search in English and Chinese: Sphinx's own for English, with Chinese cut into pairs of characters."""

import re

from sphinx.search.en import SearchEnglish

_CHINESE = "\u4e00-\u9fff"
_WORDS = re.compile(rf"[{_CHINESE}]+|[^\W{_CHINESE}]+")


class SearchEnglishAndChinese(SearchEnglish):
    """Chinese has no spaces: a search for 批次的顺序 finds the pages that have each of 批次, 次的, 的顺 and 顺序.

    The same is done to a page when the index is made, here, and to a query, in the browser. No dictionary is needed.
    """

    js_splitter_code = f"""
var splitQuery = (query) =>
  (query.match(/[{_CHINESE}]+|[^\\s\\p{{P}}\\p{{S}}{_CHINESE}]+|_+/gu) || []).flatMap((word) =>
    /^[{_CHINESE}]{{2,}}$/.test(word)
      ? Array.from({{ length: word.length - 1 }}, (_, i) => word.slice(i, i + 2))
      : [word],
  );
"""

    def split(self, input: str) -> list[str]:
        """The words of a text."""
        words = []
        for word in _WORDS.findall(input):
            if re.match(f"[{_CHINESE}]{{2}}", word):
                words += [word[i : i + 2] for i in range(len(word) - 1)]
            else:
                words.append(word)
        return words
