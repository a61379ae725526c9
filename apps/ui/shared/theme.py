"""Theme of the app: system fonts (nothing is fetched), warm greys, one teal accent, AA contrast both ways."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

FOLDER = Path(__file__).resolve().parent.parent
CSS = sorted(FOLDER.glob("*/*.css"))
SCRIPTS = sorted(FOLDER.glob("*/*.js"))

# Plain names, never gr.themes.GoogleFont: that one asks fonts.googleapis.com.
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

# gradio's variable: (light, dark).
COLORS = {
    "body_background_fill": ("*neutral_50", "#141312"),
    "body_text_color": ("*neutral_900", "*neutral_100"),
    "body_text_color_subdued": ("*neutral_600", "*neutral_400"),
    "background_fill_primary": ("white", "#1d1b1a"),
    "background_fill_secondary": ("*neutral_100", "#262321"),
    "border_color_primary": ("*neutral_200", "#383431"),
    "border_color_accent": ("*primary_700", "*primary_400"),
    "color_accent_soft": ("*primary_50", "#12312e"),
    "link_text_color": ("*primary_700", "*primary_300"),
    "block_background_fill": ("white", "#1d1b1a"),
    "block_label_background_fill": ("transparent", "transparent"),
    "block_label_text_color": ("*neutral_700", "*neutral_200"),
    "block_title_text_color": ("*neutral_800", "*neutral_100"),
    "block_info_text_color": ("*neutral_600", "*neutral_400"),
    "input_background_fill": ("white", "#151413"),
    "input_border_color": ("*neutral_500", "*neutral_500"),
    "input_border_color_focus": ("*primary_600", "*primary_400"),
    "input_placeholder_color": ("*neutral_500", "*neutral_400"),
    "slider_color": ("*primary_700", "*primary_400"),
    "button_primary_background_fill": ("*primary_700", "*primary_300"),
    "button_primary_background_fill_hover": ("*primary_800", "*primary_200"),
    "button_primary_border_color": ("*primary_700", "*primary_300"),
    "button_primary_text_color": ("white", "*neutral_950"),
    "button_secondary_background_fill": ("white", "#262321"),
    "button_secondary_background_fill_hover": ("*neutral_100", "#34302d"),
    "button_secondary_border_color": ("*neutral_300", "#4a4541"),
    "button_secondary_text_color": ("*neutral_800", "*neutral_100"),
    "button_cancel_background_fill": ("white", "#262321"),
    "button_cancel_border_color": ("#b42318", "#f0857a"),
    "button_cancel_text_color": ("#b42318", "#ffb4ab"),
    "checkbox_background_color_selected": ("*primary_700", "*primary_600"),
    "checkbox_border_color": ("*neutral_500", "*neutral_500"),
}
# The same both ways.
BOTH = {
    "color_accent": "*primary_700",
    "block_border_width": "1px",
    "block_shadow": "none",
    "block_label_border_width": "0px",
    "block_title_text_weight": "500",
    "input_border_width": "1px",
    "button_border_width": "1px",
}


def theme() -> gr.themes.Base:
    """The app's theme."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    )
    light = {name: pair[0] for name, pair in COLORS.items()}
    dark = {f"{name}_dark": pair[1] for name, pair in COLORS.items()}
    return base.set(**light, **dark, **BOTH)


def scripts() -> list[str]:
    """Texts of the scripts for the page's head: each drives one kind of result wherever it appears."""
    return [script.read_text(encoding="utf-8") for script in SCRIPTS]


def head() -> str:
    """The scripts as HTML."""
    return "".join(f"<script>{script}</script>" for script in scripts())
