"""Adam without the optimizer class, whose first use imports PyTorch's compiler: 1.7 s that no training here needs."""

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Steps parameters by Adam with PyTorch's defaults, in one fused kernel.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, https://arxiv.org/abs/1412.6980.
    """

    def __init__(self, parameters: list[Tensor], learning_rate: float) -> None:
        """Start with moments of zero; ``step`` expects every parameter to have a gradient."""
        self._parameters = parameters
        self._learning_rate = learning_rate
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters by their gradients."""
        adam(
            [parameter.detach() for parameter in self._parameters],
            [parameter.grad for parameter in self._parameters if parameter.grad is not None],
            self._means,
            self._squares,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self._learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )
