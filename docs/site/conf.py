"""Sphinx's configuration; build.py writes the pages and calls Sphinx."""

import builtins
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import contents
import reference
from search import SearchEnglishAndChinese

import kerasnets

project = "kerasnets"
author = "The kerasnets authors"
copyright = author
release = version = kerasnets.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
root_doc = "index"

autosummary_generate = False  # reference.py writes the pages
autodoc_inherit_docstrings = False  # Keras's own methods are documented there
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Call arguments", "params_style")]

myst_heading_anchors = 3
nb_execution_mode = "off"  # the stored outputs, which tests and "nox -s notebooks" hold to the code

# Names of other projects, whose inventories would have to be downloaded, and types outside the reference.
_OTHERS = r"(keras|torch|torchvision|np|numpy|matplotlib|collections|typing|types|pathlib|os)\b.*"
_TYPES = "Any|Callable|Iterable|Iterator|Mapping|Sequence|Path|PathLike|ModuleType|Figure|Axes|Group|LoadResult"
nitpick_ignore_regex = [("py:.*", name) for name in (_OTHERS, rf"([\w.]+\.)?({_TYPES})", "|".join(dir(builtins)))]

html_theme = "pydata_sphinx_theme"
html_title = "kerasnets"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
#: Public name → the one that the reference has a page for.
ALIASES = {name: there for name, (there, _) in reference.documented().items() if name != there}
ALIASES |= {short: module for module, short in contents.MODULES.items() if short}

html_sidebars = {"index": [], "changelog": []}


def set_language(app, pagename, templatename, context, doctree):
    """Tell browsers and screen readers which pages are Chinese."""
    context["language"] = "zh-CN" if pagename.startswith("zh/") else "en"


def resolve_alias(app, env, node, contnode):
    """Lead a docstring's reference to an object by another of its public names, or by a module's short one."""
    target = node.get("reftarget", "")
    for name in (target, f"{node.get('py:module')}.{target}"):
        if name in ALIASES:
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", ALIASES[name], node, contnode)
    return None


def setup(app):
    """Add what Sphinx has no setting for."""
    app.add_search_language(SearchEnglishAndChinese)
    app.connect("html-page-context", set_language)
    app.connect("missing-reference", resolve_alias)
