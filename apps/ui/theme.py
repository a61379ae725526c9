"""Look of the app: system fonts (nothing is fetched), warm greys, one teal accent, AA contrast both ways."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).resolve().parent
CSS = HERE / "style.css"
PLAYER = HERE / "player.js"

# Plain names, never gr.themes.GoogleFont: that one asks fonts.googleapis.com.
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


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
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#141312",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="white",
        background_fill_primary_dark="#1d1b1a",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="#262321",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#383431",
        border_color_accent="*primary_700",
        border_color_accent_dark="*primary_400",
        color_accent="*primary_700",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="#12312e",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        block_background_fill="white",
        block_background_fill_dark="#1d1b1a",
        block_border_width="1px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_title_text_weight="500",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_border_width="1px",
        input_background_fill="white",
        input_background_fill_dark="#151413",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_600",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        slider_color="*primary_700",
        slider_color_dark="*primary_400",
        button_border_width="1px",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_300",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_200",
        button_primary_border_color="*primary_700",
        button_primary_border_color_dark="*primary_300",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="#262321",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_hover_dark="#34302d",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#4a4541",
        button_secondary_text_color="*neutral_800",
        button_secondary_text_color_dark="*neutral_100",
        button_cancel_background_fill="white",
        button_cancel_background_fill_dark="#262321",
        button_cancel_border_color="#b42318",
        button_cancel_border_color_dark="#f0857a",
        button_cancel_text_color="#b42318",
        button_cancel_text_color_dark="#ffb4ab",
        checkbox_background_color_selected="*primary_700",
        checkbox_background_color_selected_dark="*primary_600",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
    )


def head() -> str:
    """Script for the page's head: the player, which drives every grid of videos that appears."""
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<script>{PLAYER.read_text(encoding='utf-8')}</script>"
    )
