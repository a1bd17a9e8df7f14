"""Adam steps as PyTorch's own optimizer does, and does not import its compiler."""

import subprocess
import sys

import pytest
import torch

from flts.models.neural.adam import Adam

NO_COMPILER = """
import sys, torch
from flts.models.neural.adam import Adam
parameter = torch.zeros(3)
parameter.grad = torch.ones(3)
Adam([parameter], 0.1).step()
assert parameter.abs().min() > 0
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow
def test_steps_equal_those_of_the_optimizer_class():
    ours, theirs = ([torch.linspace(-1, 1, 12).view(3, 4).clone(), torch.ones(5)] for _ in range(2))
    mine, reference = Adam(ours, 3e-3), torch.optim.Adam(theirs, lr=3e-3, fused=True)
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=random)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


def test_a_step_does_not_import_the_compiler():
    run = subprocess.run([sys.executable, "-c", NO_COMPILER], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
