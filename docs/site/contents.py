"""What the site has: its sections and their pages, in English and Chinese, and the modules of the reference."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Section → heading, introduction, pages. A page is a file of the repository; one that isn't there yet is left out.
SECTIONS: dict[str, tuple[str, str, list[str]]] = {
    "tutorials": (
        "Tutorials",
        "Four notebooks, from the first network to reading digits, on the sample of Fashion-MNIST that comes with the "
        "package. They are shown with the outputs that are stored in `experiments/notebooks`; `nox -s notebooks` runs "
        "them, and fails if they print something else.",
        ["experiments/notebooks/*.ipynb"],
    ),
    "guides": (
        "Guides",
        "How to do one thing each.",
        [
            "docs/guide.md",
            "docs/coming-from-pytorch.md",
            "docs/port-your-model.md",
            "docs/compare.md",
            "docs/tuning.md",
            "docs/experiments.md",
            "CONTRIBUTING.md",
        ],
    ),
    "explanation": (
        "Explanation",
        "How it works, and how it is measured.",
        ["docs/fast-fit.md", "docs/same-seed.md", "docs/rules.md", "docs/reliability.md", "docs/layout.md"],
    ),
    "figures": (
        "Results",
        "Accuracy, parity and speed, written by the programs that measure them, and the tutorials block by block.",
        ["docs/results.md", "docs/parity.md", "docs/speed.md", "docs/documents.md", "docs/versions.md"],
    ),
    "zh/tutorials": (
        "教程",
        "四个 notebook，从第一个网络到手写数字识别。它们使用随包附带的 Fashion-MNIST 样本，每个只需一两分钟。",
        ["experiments/notebooks/zh/*.ipynb"],
    ),
    "zh/guides": ("指南", "每页解决一类问题。", ["docs/zh/*.md"]),
}
#: Pages under another name than their own.
RENAMED = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
#: Folder of the repository → the section that shows it.
FOLDERS = {"experiments/notebooks": "tutorials", "experiments/notebooks/zh": "zh/tutorials"}
#: The sections of the READMEs that the start has; the site's navigation replaces the others.
START_SECTIONS = 3
#: What is below the start in each language.
TOP = {
    "index.md": ["tutorials", "guides", "explanation", "reference/index", "figures", "changelog", "中文 </zh/index>"],
    "zh/index.md": ["zh/tutorials", "zh/guides", "zh/untranslated"],
}

#: The modules of the reference, in its order, and what each is also called.
MODULES = {
    "kerasnets": "",
    "kerasnets.networks": "",
    "kerasnets.layers": "",
    "kerasnets.losses": "",
    "kerasnets.optimizers": "",
    "kerasnets.schedules": "",
    "kerasnets.initializers": "",
    "kerasnets.models": "",
    "kerasnets.data": "",
    "kerasnets.batches": "",
    "kerasnets.plots": "",
    "kerasnets.training": "",
    "kerasnets.training.recipes": "kerasnets.recipes",
    "kerasnets.training.callbacks": "kerasnets.callbacks",
    "kerasnets.training.backup": "",
    "kerasnets.lbfgs": "",
    "kerasnets.backend": "",
    "kerasnets.verify.compare": "",
    "kerasnets.verify.originals": "kerasnets.originals",
}


def site_path(path: Path) -> str | None:
    """Where the site has a file of the repository; None if it doesn't show it. `path` is relative to the root."""
    name = path.as_posix()
    if name in RENAMED:
        return RENAMED[name]
    if name in FOLDERS:
        return f"{FOLDERS[name]}.md"
    if path.suffix == ".ipynb" and path.parent.as_posix() in FOLDERS:
        return f"{FOLDERS[path.parent.as_posix()]}/{path.name}"
    if path.parts[0] == "docs" and "site" not in path.parts and path.suffix in {".md", ".png", ".svg", ".json"}:
        return path.relative_to("docs").as_posix()
    return None


def pages_of(section: str) -> list[Path]:
    """The files of the repository that a section shows, relative to the root."""
    return [found.relative_to(ROOT) for pattern in SECTIONS[section][2] for found in sorted(ROOT.glob(pattern))]
