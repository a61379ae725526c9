"""SECURITY.md, sentence by sentence, with the tests that hold each to be true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOORS, BODIES = "app/guard/test_doors.py", "app/guard/test_bodies.py"
HOSTS, POLICY = "app/guard/test_hosts.py", "app/guard/test_policy.py"
# Beginning of a sentence → a file below tests, and functions in it.
PROMISES: dict[str, list[tuple[str, str]]] = {
    "A file's type": [("data/media/test_read.py", "test_content_decides_not_the_name")],
    "Size, frames, parts and processor time": [
        ("data/media/test_limits.py", "test_the_sum_of_decoded_pixels_is_limited"),
        ("data/media/test_limits.py", "test_boxes_and_packets_are_limited"),
        ("data/media/test_limits.py", "test_processor_time_of_decoding_is_limited"),
        ("data/media/test_damaged.py", "test_enormous_png_is_refused_from_its_header"),
        ("data/media/test_damaged.py", "test_ten_thousand_frames_of_video"),
    ],
    "Bad input causes": [
        ("test_hostile.py", "test_forty_hostile_files"),
        ("app/test_hostile_files.py", "test_thirty_hostile_files"),
        ("app/test_hostile_values.py", "test_odd_values"),
    ],
    "While the app reads one upload": [
        ("app/test_reading.py", "test_endpoints_and_a_page_answer_while_an_upload_is_read")
    ],
    "Weights are safetensors": [
        ("test_checkpoint.py", "test_damaged"),
        ("test_checkpoint.py", "test_file_instead_of_directory"),
    ],
    "The app listens on 127.0.0.1": [("test_cli.py", "test_app_gets_address_and_checkpoints")],
    "It answers only to its own host names": [
        (HOSTS, "test_names_that_are_served"),
        (HOSTS, "test_what_a_proxy_forwards_is_believed_of_allowed_hosts_alone"),
        (HOSTS, "test_the_running_app_takes_its_address_from_nobody"),
    ],
    "It takes no uploads or calls": [
        (HOSTS, "test_origins_that_may_write"),
        (HOSTS, "test_the_running_app_refuses_other_names_and_origins"),
        (HOSTS, "test_no_foreign_port_may_read"),
    ],
    "It contacts no other machine": [
        (DOORS, "test_no_path_is_fetched_or_read"),
        (DOORS, "test_no_endpoint_fetches_a_file"),
        (DOORS, "test_mcp_takes_data_alone_and_keeps_it_in_the_private_folder"),
    ],
    "Of files it serves": [
        (DOORS, "test_which_names_are_the_apps_own"),
        (BODIES, "test_addresses_of_uploads_cannot_be_guessed"),
    ],
    "Language models": [(DOORS, "test_mcp_takes_data_alone_and_keeps_it_in_the_private_folder")],
    "Uploads and results are deleted within the hour": [
        (BODIES, "test_old_uploads_and_empty_folders_are_removed"),
        ("app/shared/test_storage.py", "test_old_runs_are_removed_and_those_at_work_stay"),
    ],
    "They are deleted when the app ends": [
        ("app/shared/test_storage.py", "test_the_next_start_removes_folders_of_killed_apps_only")
    ],
    "An upload that is cut off": [
        (BODIES, "test_clients_that_leave_amid_uploads_leave_nothing"),
        (BODIES, "test_a_stalled_upload_ends_and_leaves_no_file"),
    ],
    "A file may have 512 MiB": [
        (BODIES, "test_all_uploads_together_have_a_quota"),
        (BODIES, "test_a_file_beyond_the_limit_is_refused"),
        (DOORS, "test_a_call_may_not_be_larger_than_its_limit"),
    ],
    "At most 256 connections": [
        ("app/guard/test_connections.py", "test_too_many_connections_are_told_so"),
        ("app/guard/test_connections.py", "test_headers_that_trickle_end_it_too"),
        (BODIES, "test_uploads_and_calls_at_once_have_a_limit"),
        (BODIES, "test_a_call_that_trickles_ends_too"),
    ],
    "No client keeps the others waiting": [
        ("app/shared/test_turns.py", "test_turns_go_round_the_addresses_and_within_one_round_its_sessions"),
        (
            "app/test_load.py",
            "test_a_client_is_served_beside_the_jobs_of_others_and_no_header_gives_them_more",
        ),
        (HOSTS, "test_clients_are_named_by_allowed_proxies_alone"),
    ],
    "SIGTERM ends the app": [("app/test_load.py", "test_sigterm_ends_the_app_soon_however_many_jobs_wait")],
    "In a container": [("test_packaging.py", "test_the_container_cannot_use_up_the_machine")],
    "A content security policy": [(POLICY, "test_scripts_that_are_not_the_pages_do_not_run")],
    "An upload that is opened": [(POLICY, "test_headers_of_the_running_app")],
    "No other site shows the page": [(POLICY, "test_frames_of_other_pages_stay_empty_unless_asked_for")],
}


def promises() -> list[str]:
    """Sentences that SECURITY.md promises."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"## What vflow promises\n(.*?)\n## ", text, flags=re.DOTALL)
    return [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", section, flags=re.MULTILINE)]


def test_each_sentence_has_its_tests() -> None:
    found = promises()
    assert len(found) == len(PROMISES)
    for sentence, (beginning, tests) in zip(found, PROMISES.items(), strict=True):
        assert sentence.startswith(beginning) and tests, sentence
        for file, name in tests:
            tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
            functions = {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert name in functions, (file, name)


def test_numbers_are_those_of_the_code() -> None:
    from apps.guard import bodies, connections

    limits = (
        *(bodies.UPLOAD_LIMIT >> 20, bodies.QUOTA >> 30, bodies.CALL_LIMIT >> 20, bodies.MCP_LIMIT >> 20),
        *(connections.MAX_CONNECTIONS, bodies.UPLOADS_AT_ONCE, bodies.PATIENCE),
    )
    sentences = [s for s in promises() if s.startswith(("A file may", "At most"))]
    assert [int(number) for number in re.findall(r"\d+", " ".join(sentences))] == list(map(int, limits))
    assert connections.HEADER_PATIENCE == bodies.PATIENCE
