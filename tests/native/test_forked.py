"""Children of fork(): not under the thread sanitizer, which cannot start threads in one."""

from __future__ import annotations

import multiprocessing

import torch

import skipw


def test_a_forked_child_has_threads_of_its_own() -> None:
    """OpenMP's threads do not come along into a child of fork(); PyTorch's larger operations wait for them there."""
    rnn = skipw.SkipW("gru", input_size=3, hidden_size=9, window=4)
    x, lengths = torch.randn(24, 20, 3), torch.randint(1, 21, (24,))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def run() -> None:
        with torch.inference_mode():
            answers.put(rnn(x, lengths=lengths, backend="auto").output.sum().item())

    torch.set_num_threads(2)
    run()
    child = context.Process(target=run)
    child.start()
    child.join(60)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0, "the child hung or died"
    assert answers.get(timeout=10) == answers.get(timeout=10)
