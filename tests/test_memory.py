"""Memory of blocks is used again, and only once nothing lies in it any more."""

import gc
import threading

import numpy as np
import pytest

from calscipy.blocks import memory
from calscipy.blocks.memory import empty_block

LARGE = (5, 1000, 1000)  # 5 MB of uint8


@pytest.fixture(autouse=True)
def nothing_idle(monkeypatch):
    monkeypatch.setattr(memory, "_idle", [])


def address(array):
    return array.__array_interface__["data"][0]


def idle():
    return sum(one.size for one in memory._idle)


def test_memory_is_used_again_for_a_block_of_about_the_same_size():
    first = empty_block(LARGE, "uint8")
    place = address(first)
    del first
    again = empty_block((4, 1000, 1200), "uint8")
    assert address(again) == place
    assert again.flags.c_contiguous
    assert again.flags.writeable


@pytest.mark.parametrize("view", [lambda a: a[1:2], lambda a: a.view("int8"), np.asarray])
def test_memory_is_kept_while_a_view_lives(view):
    first = empty_block(LARGE, "uint8")
    first[...] = 7
    part = view(first)
    del first
    gc.collect()
    other = empty_block(LARGE, "uint8")
    other[...] = 9
    assert (np.asarray(part) == 7).all()


def test_two_blocks_never_share_memory():
    blocks = [empty_block(LARGE, "uint8") for _ in range(3)]
    del blocks[1]
    blocks += [empty_block(LARGE, "uint8") for _ in range(3)]
    for number, block in enumerate(blocks):
        block[...] = number
    assert [int(block.max()) for block in blocks] == [int(block.min()) for block in blocks]


def test_much_smaller_or_larger_blocks_take_other_memory():
    first = empty_block(LARGE, "uint8")
    del first
    kept = idle()
    blocks = [empty_block((2, 1200, 1000), "uint8"), empty_block(LARGE, "uint16")]
    assert idle() == kept
    del blocks


def test_no_more_than_the_limit_is_kept(monkeypatch):
    monkeypatch.setattr(memory, "MOST_IDLE_BYTES", 12 * 2**20)
    blocks = [empty_block(LARGE, "uint8") for _ in range(5)]
    del blocks
    assert 0 < idle() <= 12 * 2**20
    large = empty_block((13, 2**20), "uint8")
    kept = idle()
    del large
    assert idle() == kept


def test_small_blocks_are_left_to_the_allocator():
    block = empty_block((10, 10), "float32")
    del block
    assert idle() == 0
    assert empty_block((0, 5), "float32").shape == (0, 5)


def test_freeing_while_memory_is_taken_does_not_hang():
    block = empty_block(LARGE, "uint8")
    with memory._lock:  # as when garbage is collected in the middle of it
        del block
    assert idle() == 0


def test_threads_have_memory_of_their_own():
    def work(number, results):
        for _ in range(50):
            block = empty_block(LARGE, "uint8")
            block[...] = number
            results.append(bool((block == number).all()))

    results = []
    threads = [threading.Thread(target=work, args=(n, results)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 200
    assert all(results)
