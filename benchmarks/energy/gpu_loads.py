"""Loads for the checks on a GPU: torch on a real one, a sleep beside a simulated board."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.cluster.nvml_simulated.build import Control
from tests.cluster.nvml_simulated.loads import cut, llm

S = 1_000_000_000
UNIT_S = 0.05


class Load(Protocol):
    """What keeps one GPU busy. Each method returns when the device has finished."""

    uuid: str
    name: str
    provenance: str

    def units(self, n: float) -> None:
        """Run `n` equal pieces of work, each about 50 ms; a part of one where `n` is not whole."""
        ...

    def generation(self, seconds: float) -> str:
        """Run something like a generation, bursts and many small steps, and say what it was."""
        ...


class Simulated:
    """A simulated board: work is a step of power and a sleep."""

    name = "simulated"
    provenance = "simulated"
    peak_w, idle_w = 600.0, 75.0

    def __init__(self) -> None:
        self.control = Control(os.environ)
        self.uuid = self.control.gpu(0).uuid.decode()

    def units(self, n: float) -> None:
        """Draw full power for n × 50 ms from now on."""
        t0_ns = time.monotonic_ns() + 1_000_000
        t1_ns = t0_ns + round(n * UNIT_S * S)
        self.control.step(0, t0_ns, self.peak_w)
        self.control.step(0, t1_ns, self.idle_w)
        time.sleep(max(0, t1_ns - time.monotonic_ns()) / S)

    def generation(self, seconds: float) -> str:
        """Play the simulation's LLM-like shape."""
        t0_ns = time.monotonic_ns() + 1_000_000
        t1_ns = self.control.play(0, t0_ns, cut(llm(Random(1), self.peak_w, self.idle_w), seconds), self.idle_w)
        time.sleep(max(0, t1_ns - time.monotonic_ns()) / S)
        return "simulated LLM-like shape"


class Cuda:
    """A real GPU under torch: products of square matrices in bfloat16, as many as fill 50 ms."""

    provenance = "measured"

    def __init__(self, index: int) -> None:
        import torch

        if index >= torch.cuda.device_count():
            raise SystemExit(
                f"torch sees {torch.cuda.device_count()} CUDA devices, not number {index}: --device simulated"
            )
        self._torch = torch
        self._device = torch.device("cuda", index)
        torch.cuda.set_device(self._device)
        facts = torch.cuda.get_device_properties(index)
        self.uuid, self.name = f"GPU-{facts.uuid}", facts.name
        self._a = torch.randn(8192, 8192, device=self._device, dtype=torch.bfloat16)
        self._out = torch.empty_like(self._a)
        self._per_unit = 1
        self._per_unit = max(1, round(UNIT_S / self._seconds(50) * 50))

    def units(self, n: float) -> None:
        """Multiply, and wait for the device."""
        for _ in range(round(n * self._per_unit)):
            self._torch.matmul(self._a, self._a, out=self._out)
        self._torch.cuda.synchronize(self._device)

    def generation(self, seconds: float) -> str:
        """Generate with the packaged model, else one large product and many small ones in turn."""
        step, words = self._generator()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            step()
        self._torch.cuda.synchronize(self._device)
        return words

    def _seconds(self, n: int) -> float:
        for _ in range(2):  # the first time warms up
            began_s = time.perf_counter()
            self.units(n)
            seconds = time.perf_counter() - began_s
        return seconds

    def _generator(self) -> tuple[Callable[[], Any], str]:
        try:
            from transformers import AutoModelForCausalLM
        except ImportError:
            small = self._a[:64]

            def step() -> None:
                self.units(2)
                for _ in range(200):
                    self._torch.matmul(small, self._a)

            return step, "products of matrices, one large and 200 small in turn (transformers is not installed)"
        from joulegrid.cases.models import CASES

        model: Any = AutoModelForCausalLM.from_pretrained(CASES / "tiny-lm")
        model.to(self._device)
        prompt = self._torch.randint(0, model.config.vocab_size, (64, 256), device=self._device)
        return lambda: model.generate(
            prompt, max_new_tokens=128, do_sample=False
        ), "tiny-lm, 64 × 256 tokens in, 128 out"
