"""Each threat (T1 to T35) with the tests that make it happen, and what we do to nobody (H1 to H6).

python -m tests.security.threats      writes THREATS.md, which test_threats.py compares
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["HARM", "NOT_HERE", "OPEN", "README", "THREATS", "render"]

README = Path(__file__).parent / "THREATS.md"
SERVER, SOCKET, CANARIES = (
    "tests/servers/test_rest.py",
    "tests/transports/test_websocket.py",
    "tests/security/test_canaries.py",
)
FILES, USER = "tests/discovery/test_runtime_files.py", "tests/security/test_other_user.py"
SERVER_FILES = "tests/discovery/test_server_files.py"
CODEC = "tests/remote_code/test_codec"
AUTH = "tests/access/test_vault.py"
REFERENCES = "tests/access/test_references.py"
RELAY, ZMQ, THREAT = "tests/display/test_relay.py", "tests/transports/test_zmq.py", "tests/security/test_threats.py"
VARIABLES = "tests/security/test_variables.py"

#: What it is, and where it is met.
THREATS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "a redirect carries the secret elsewhere",
        (
            f"{SERVER}::test_no_redirect_is_followed",
            f"{SOCKET}::test_no_redirect_is_followed",
            f"{CANARIES}::test_rest",
        ),
    ),
    2: (
        "the port of a stale file is somebody else's",
        (
            f"{USER}::test_it_is_told_nothing",
            f"{SERVER}::test_listener_of_another_user_gets_nothing",
            f"{SERVER}::test_port_taken_by_another_process_gets_nothing",
            "tests/access/test_sockets.py::test_a_secret_does_not_go_to_another_user_of_this_machine",
            "tests/access/test_peers.py::test_who_is_not_seen_to_be_ours_is_a_stranger",
        ),
    ),
    3: (
        "a pid that was used again",
        (f"{SERVER_FILES}::test_pid_that_was_used_again", f"{SERVER_FILES}::test_pid_that_has_ended_or_is_not_ours"),
    ),
    4: (
        "planted runtime files",
        (
            "tests/discovery/test_look.py::test_planted_files_do_no_harm",
            f"{FILES}::test_other_owners",
            f"{FILES}::test_writable_by_others",
            f"{FILES}::test_what_is_no_regular_file",
        ),
    ),
    5: ("a file's URL points elsewhere", (f"{SERVER_FILES}::test_dialled_where_it_listens_never_by_its_url",)),
    6: (
        "one server's secret is offered to another",
        (
            f"{CANARIES}::test_ten_thousand_pairs_of_urls_share_no_secret",
            f"{AUTH}::test_a_secret_goes_to_its_own_origin_only",
            "tests/discovery/test_hubs.py::test_a_hub_cannot_send_the_token_elsewhere",
            "tests/bridge/test_bridge.py::test_no_secret_goes_to_another_url_of_a_server_s_port",
        ),
    ),
    7: (
        "a secret's file can be read by others",
        (
            f"{REFERENCES}::test_file_that_others_read_is_refused",
            "tests/servers/test_config_file.py::test_what_is_saved_is_read_again_and_private",
        ),
    ),
    8: (
        "a token in notebooks, history, tracebacks, logs",
        (
            f"{CANARIES}::test_verbose_tracebacks_of_the_users_own_errors",
            f"{CANARIES}::test_nothing_is_left_anywhere",
            f"{REFERENCES}::test_a_literal_is_refused_and_not_repeated",
            f"{AUTH}::test_a_secret_that_cannot_be_used_is_in_no_traceback",
            f"{AUTH}::test_a_secret_that_a_shell_put_for_its_name_is_not_repeated",
        ),
    ),
    9: (
        "a token in a URL, or in a library's exception",
        (
            "tests/access/test_urls.py::test_token_is_taken_out_and_in_no_repr",
            f"{AUTH}::test_a_secret_in_a_url_is_in_no_traceback",
            f"{CANARIES}::test_rest",
            f"{CANARIES}::test_websocket",
        ),
    ),
    10: ("~/.netrc replaces our header", (f"{SERVER}::test_proxies_and_netrc_see_nothing",)),
    11: (
        "proxies of the environment",
        (
            f"{SOCKET}::test_proxies_of_the_environment_are_not_used",
            f"{SERVER}::test_proxies_and_netrc_see_nothing",
            "tests/access/test_proxies.py::test_a_cell_runs_through_a_proxy_that_sees_no_secret",
        ),
    ),
    12: (
        "cookies cross ports",
        (f"{CANARIES}::test_a_cookie_goes_back_to_nobody", f"{SOCKET}::test_cookies_of_a_server_are_not_kept"),
    ),
    13: (
        "no TLS, or one that does not hold",
        (
            "tests/access/test_sockets.py::test_a_token_does_not_cross_the_network_in_clear",
            "tests/access/test_sockets.py::test_a_certificate_that_does_not_hold_is_one_sentence",
            f"{SERVER}::test_tls",
        ),
    ),
    14: (
        "another hub user's server gets our token",
        (
            "tests/discovery/test_hubs.py::test_another_user_s_server_gets_nothing",
            "tests/discovery/test_hubs.py::test_a_hub_that_does_not_say_is_no_reason_to_send_anything",
            "tests/discovery/test_hubs.py::test_the_spelling_of_a_url_does_not_matter",
        ),
    ),
    15: (
        "active output",
        (
            "tests/browser/test_foreign.py::test_no_payload_reaches_the_page",
            "tests/sanitize/test_html.py::test_formulas_in_a_page_that_could_act_go_into_a_sandbox",
        ),
    ),
    16: (
        "widgets of foreign kernels",
        (
            "tests/browser/test_foreign.py::test_no_payload_reaches_the_page",
            f"{RELAY}::test_output_of_a_foreign_kernel_is_sanitized",
        ),
    ),
    17: (
        "payloads of a reply act here",
        ("tests/protocol/test_request.py::test_a_page_is_shown_and_all_other_payloads_are_only_told_of",),
    ),
    18: (
        "a foreign kernel asks for a password",
        (
            f"{RELAY}::test_a_foreign_kernel_s_prompt_says_who_asks",
            f"{RELAY}::test_a_foreign_prompt_cannot_draw_and_has_an_end",
            "tests/cli/test_main.py::test_what_a_kernel_leaves_open_conceals_neither_its_prompt_s_label_nor_its_fate",
            "tests/connection/test_connection.py::test_input_is_refused_at_once_where_nobody_can_be_asked",
        ),
    ),
    19: (
        "a variable that is copied runs code where it is read, ends that process, or outgrows its memory",
        (
            f"{CODEC}.py::test_any_node_is_a_value_or_refused",
            f"{CODEC}.py::test_nodes_that_lie_are_refused",
            f"{CODEC}.py::test_depth_without_an_end_is_refused",
            f"{CODEC}.py::test_json_that_grows_is_refused_before_it_is_read",
            f"{CODEC}_arrow.py::test_offsets_that_point_elsewhere_are_refused",
            f"{CODEC}_arrow.py::test_indices_beyond_a_dictionary_are_refused",
            f"{CODEC}_arrow.py::test_changed_bytes_end_no_process",
            f"{CODEC}_numpy.py::test_arrays_that_lie_are_refused",
            f"{CODEC}_pandas.py::test_what_is_not_what_it_says_it_is_is_refused",
            f"{CODEC}_pictures.py::test_pictures_that_lie_are_refused",
            f"{CODEC}_standard.py::test_a_pickle_is_written_and_read_only_where_that_was_asked_for",
            "tests/remote_code/test_parcel.py::test_sizes_that_lie_are_refused",
            "tests/remote_code/test_shared_file.py::test_nobody_can_change_it_or_cut_it_off",
            "tests/transfer/test_summary.py::test_nothing_of_a_hostile_value_runs",
            f"{THREAT}::test_t19_a_kernel_that_is_not_one_s_own_is_not_trusted_with_pickles",
            f"{VARIABLES}::test_t19_a_hostile_variable_is_one_plain_error",
            f"{VARIABLES}::test_t19_many_small_values_take_about_what_is_counted",
            f"{VARIABLES}::test_t19_safe_formats_go_to_a_sandboxed_kernel_and_come_back",
            f"{VARIABLES}::test_t19_large_ones_go_in_pieces_and_by_no_file",
            f"{VARIABLES}::test_t19_a_sandboxed_kernel_is_sent_nothing_where_pickles_are_asked_for",
            f"{VARIABLES}::test_t19_a_pickle_that_a_sandboxed_kernel_sends_is_not_read",
        ),
    ),
    20: (
        "names here are overwritten: the user's, built-in ones, those of IPython",
        (
            "tests/ipython/test_magics.py::test_names_that_are_not_one_s_own_are_refused",
            "tests/transfer/test_names.py::test_names_that_mean_something_else_are_refused",
            "tests/transfer/test_names.py::test_what_cannot_be_used_is_one_line",
        ),
    ),
    21: (
        "injection into the code that we send",
        (
            f"{THREAT}::test_t21_the_code_that_we_send_is_constant_but_for_literals",
            f"{THREAT}::test_t21_the_code_that_copies_variables_is_constant",
            f"{VARIABLES}::test_t21_five_thousand_hostile_texts_change_no_code",
            f"{VARIABLES}::test_t21_neither_titles_nor_paths_of_a_kernel_are_sent",
            "tests/transfer/test_languages.py::test_names_that_are_none_are_refused",
        ),
    ),
    22: (
        "terminal escapes",
        (
            "tests/sanitize/test_terminal.py::test_random_strings_at_all_cuts",
            f"{RELAY}::test_a_foreign_kernel_cannot_steer_the_terminal_wherever_its_output_is_cut",
            "tests/display/test_tables.py::test_any_text_fits_and_is_safe",
            "tests/connection/test_introspection.py::test_what_cannot_be_used_is_left_out",
            "tests/connection/test_introspection.py::test_documentation_of_another_one_can_do_no_harm",
        ),
    ),
    23: (
        "bombs",
        (
            f"{SERVER}::test_a_huge_body_is_not_read",
            f"{SOCKET}::test_what_announces_more_than_may_come_ends_the_connection_at_once",
            "tests/test_bad_input.py::test_a_bomb_is_not_unpacked",
            "tests/transports/test_inbox.py::test_what_only_shows_something_is_dropped_beyond_the_end_and_taken_again_below_it",
        ),
    ),
    24: (
        "slow drips",
        (
            f"{SERVER}::test_a_drip_ends_at_the_deadline",
            "tests/transports/test_handshake.py::test_a_knock_ends_in_time_whatever_drips",
            "tests/transports/test_handshake.py::test_a_kernel_s_connection_is_given_up_in_time_whatever_drips",
            "tests/access/test_proxies.py::test_a_proxy_that_drips_is_not_waited_for",
        ),
    ),
    25: (
        "the wrong target",
        (
            "tests/matching/test_levels.py::test_first_level_decides",
            "tests/matching/test_levels.py::test_stranger_does_not_change_what_a_whole_path_means",
            "tests/bridge/test_bridge.py::test_none_and_several_are_told",
            "tests/discovery/test_look.py::test_what_is_trusted_owns_an_id_and_takes_nothing_over",
            "tests/bridge/test_bridge.py::test_a_foreign_server_s_claim_is_meant_by_its_server_alone",
            "tests/bridge/test_bridge.py::test_a_path_means_the_notebook_that_has_it_now",
            "tests/cli/test_main.py::test_a_wrong_url_of_a_server_of_ours_runs_nothing",
            "tests/matching/test_find.py::test_an_id_that_somebody_chose_does_not_take_a_path_away",
            "tests/bridge/test_pool.py::test_kernels_whose_files_are_called_alike_are_two",
            "tests/discovery/test_look.py::test_another_process_on_a_server_s_port_is_another_server",
            "tests/matching/test_find.py::test_less_than_a_whole_name_is_refused_with_the_name",
            "tests/ipython/test_elsewhere.py::test_a_kernel_that_is_gone_is_an_error_and_never_another_one",
        ),
    ),
    26: (
        "our own kernel as target",
        (
            "tests/bridge/test_bridge.py::test_one_s_own_kernel_and_a_dead_one_are_refused",
            "tests/matching/test_find.py::test_its_own_name_is_no_other_kernel",
        ),
    ),
    27: (
        "unsigned, wrongly signed, replayed messages",
        (
            f"{ZMQ}::test_messages_that_the_kernel_did_not_sign_are_dropped_and_counted",
            f"{ZMQ}::test_messages_that_are_replayed_are_dropped_and_counted",
            f"{ZMQ}::test_a_kernel_that_signs_nothing_is_refused",
        ),
    ),
    28: (
        "names that move",
        (
            "tests/access/test_sockets.py::test_a_name_that_has_moved_gets_nothing",
            "tests/access/test_sockets.py::test_localhost_is_this_machine_only",
        ),
    ),
    29: ("secrets inherited by child processes", (f"{CANARIES}::test_nothing_is_left_anywhere",)),
    30: (
        "XSRF and logins",
        (
            f"{AUTH}::test_vault_without_a_secret_submits_xsrf_twice",
            f"{CANARIES}::test_logging_in",
            f"{AUTH}::test_a_typed_password_is_for_one_login_and_a_refused_one_for_none",
        ),
    ),
    31: (
        "our own attack surface",
        (
            f"{THREAT}::test_t31_nothing_of_ours_listens_and_an_import_opens_no_socket",
            "tests/bridge/test_bridge.py::test_nothing_is_opened_started_or_read_before_it_is_needed",
        ),
    ),
    32: (
        "harm to others on the kernel",
        ("tests/faults/test_neighbours.py::test_g14_a_few_neighbours_are_left_alone",),
    ),
    33: ("a regular expression without end", ("tests/test_bad_input.py::test_a_row_has_tests",)),
    34: (
        "configuration planted beside a notebook",
        (
            "tests/servers/test_registry.py::test_a_file_beside_the_notebook_has_no_effect",
            "tests/servers/test_config_file.py::test_it_is_in_the_config_directory_and_never_in_the_current_one",
        ),
    ),
    35: (
        "our files, readable through a file browser",
        (
            "tests/display/test_overflow.py::test_it_is_made_with_the_first_text_and_the_user_s_only",
            "tests/display/test_overflow.py::test_it_goes_with_its_process",
        ),
    ),
}

#: What cannot happen here, and why.
NOT_HERE: dict[int, str] = {}

HEAD = """\
# Threats, met

Written by `python -m tests.security.threats`, not by hand. Threats are numbered [T](#threats), what we do to nobody
[H](#harm). Code and tests cite them by these numbers.

What is at stake: tokens, passwords and keys; the kernel's variables and files; the browser's session; other people's
output and queued cells; the truth of what you are told. Who may be against us: another user of this machine or hub,
somebody who shares the kernel, a malicious server or kernel, the network, the author of a notebook, and a slip of one's
own.

A server is *yours* if a runtime file or connection file of yours names it and its very process listens there, or if you
added it with `--trust`. That it listens on this machine is no proof. All others are *sandboxed*. Where the system does
not tell whose a listener is (no `/proc`, no `SO_PEERCRED`), only a process that is seen to be yours gets a secret.

## Threats
"""

#: What we do to nobody. T32 has the test.
HARM = {
    1: "a listing opens no WebSocket: that would throw away output which a server keeps for a closed notebook",
    2: "ZMQ comes first for kernels of this machine; where a WebSocket may discard what is unread, you are told",
    3: "cells are sent with `stop_on_error=False` and `store_history=False`: nobody's queue is aborted or count moved",
    4: "an interrupt is sent only while our own cell runs, and has had its effect before the next cell is sent",
    5: "a connection that nobody uses is closed after 5 minutes, since an open one keeps cullers away; one with live "
    "widgets is kept",
    6: "no kernel is ended or restarted but one that you name in full, and after a yes",
}

#: What is left open, why, and the test that measures it: should it fail one day, the gap can be closed.
OPEN = {
    15: (
        "HTML in the sandbox can send WebRTC packets to any machine, and so tell it that it was shown, and what stands "
        "in it. It knows nothing else: neither the page, nor a token, nor what other frames show. No policy of "
        "Chromium's forbids it: `webrtc 'block'` is a directive that it does not know, and `connect-src` does not hold "
        "for WebRTC. Whoever minds shows a foreign kernel's pages in a terminal only, as text.",
        "tests/browser/test_foreign.py::test_a_sandbox_can_send_a_webrtc_packet_and_no_policy_forbids_it",
    ),
}


def render() -> str:
    """Give the text of THREATS.md."""
    lines = [
        *HEAD.splitlines(),
        "",
        "| # | threat | met by |",
        "|---|---|---|",
    ]
    for number in range(1, 36):
        what, tests = THREATS.get(number, (NOT_HERE.get(number, ""), ()))
        lines.append(
            f'| <a id="t{number}"></a>T{number} | {what} | {", ".join(f"`{test}`" for test in tests) or "–"} |'
        )
    lines += ["", "## Harm", "", "What we do to nobody who uses the kernel.", "", "| # | rule |", "|---|---|"]
    lines += [f'| <a id="h{number}"></a>H{number} | {rule} |' for number, rule in HARM.items()]
    lines += ["", "## What is left open", ""]
    lines += [f"T{number}: {what} Measured by `{test}`." for number, (what, test) in OPEN.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    README.write_text(render(), "utf-8")
