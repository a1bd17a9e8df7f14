"""Forward and backward passes of GRU and LSTM on the CPU, which spend nearly all their time in matrix products.

Backpropagation through time, written out, for several networks of one shape at once. What differs from ``nn.GRU`` and
``nn.LSTM`` with automatic derivatives:

- All buffers are allocated once. Touching a megabyte of fresh memory means hundreds of page faults, which take longer
  than the matrix product that fills it. Views of single steps are made once, too.
- The derivatives of all gates by what they feed are computed for all steps at once, in place of the gates' values.
  What is left to do step by step is one multiplication by the incoming gradient and one matrix product.
- Weight gradients are one matrix product over all steps; products with the zero initial state are left out.
- ``tanh(x) = 2 sigmoid(2 x) - 1``, because PyTorch's tanh takes three times as long as its sigmoid.

Equations, weights and the order of the weights' gates are those of ``torch.nn.GRU`` and ``torch.nn.LSTM``. In shapes,
M is networks, T steps, B windows, I inputs and H units; rows of a (M, T * B, ..) tensor are ordered by step, then by
window. Networks do not mix: each has weights and windows of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input

Weights = Mapping[str, Tensor]
"""(M, ..) tensors by the names that PyTorch gives them: ``rnn.weight_ih_l0`` .., ``head.weight``, ``head.bias``."""


def _add_products(sums: Sequence[Tensor], lefts: Sequence[Tensor], rights: Sequence[Tensor]) -> None:
    """Add to each sum the product of two matrices; for few rows each, this beats one call for all of them."""
    for total, left, right in zip(sums, lefts, rights, strict=True):
        total.addmm_(left, right)


class _Layer:
    """One recurrent layer: its parameters, their gradients and the buffers of T steps of B windows.

    ``forward`` reads ``inputs`` and fills ``states``. ``backward`` reads ``d_states``, overwrites it and the gates,
    and fills the parameters' gradients and ``d_inputs``; it needs the gates of all steps.

    Attributes:
        inputs: (M, T * B, I).
        d_inputs: (M, T * B, I) gradient of the loss by ``inputs``; ``None`` where it is not needed.
        states: (M, T, B, H), the output of every step.
        d_states: (M, T, B, H) gradient of the loss by ``states`` through what lies above this layer.
        gates: (M, K, B, 4, H), of the last K steps; after ``backward`` the gradient of the loss by what goes into the
            activations.
    """

    def __init__(
        self,
        weights: Weights,
        gradients: Weights,
        index: int,
        inputs: Tensor,
        d_inputs: Tensor | None,
        steps: int,
        kept_steps: int,
    ) -> None:
        names = [f"rnn.{name}_l{index}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        self.w_ih, self.w_hh, self.b_ih, self.b_hh = (weights[name] for name in names)
        self.g_w_ih, self.g_w_hh, self.g_b_ih, self.g_b_hh = (gradients[name] for name in names)
        self.inputs, self.d_inputs = inputs, d_inputs
        self.networks, rows, _ = inputs.shape
        self.steps, self.batch, self.hidden = steps, rows // steps, self.w_hh.shape[2]
        self.states, self.d_states, self.scratch, self.kept = self._buffers(4)
        self.kept_steps = kept_steps
        self.gates = inputs.new_empty(self.networks, kept_steps, self.batch, 4, self.hidden)
        self.flat_gates = self.gates.view(self.networks, -1, 4 * self.hidden)
        self.fed_inputs = torch.split(inputs, kept_steps * self.batch, dim=1)
        self.past_states = self.states.view(self.networks, rows, self.hidden)[:, : -self.batch]
        # As tensors, numbers need no conversion in every call.
        self.minus_one, self.one, self.two = inputs.new_tensor([-1.0, 1.0, 2.0]).unbind(0)
        self.state_at, self.kept_at = self.states.unbind(1), self.kept.unbind(1)
        self.d_state_at, self.wide_d_state_at = self.d_states.unbind(1), self.d_states.unsqueeze(3).unbind(1)
        self.state_of_each_at = [state.unbind(0) for state in self.state_at]
        self.d_state_of_each_at = [state.unbind(0) for state in self.d_state_at]
        self._prepare()

    def _prepare(self) -> None:
        """Allocate the further buffers of this kind of layer, and make views of them."""
        raise NotImplementedError

    def forward(self) -> None:
        """Fill ``states`` from ``inputs``."""
        raise NotImplementedError

    def backward(self) -> None:
        """Fill the gradients from ``d_states`` and what ``forward`` left."""
        raise NotImplementedError

    def _buffers(self, count: int) -> tuple[Tensor, ...]:
        return self.inputs.new_empty(count, self.networks, self.steps, self.batch, self.hidden).unbind(0)

    def _tanh_of_doubled(self, doubled: Tensor) -> Tensor:
        """Replace 2 x by tanh(x)."""
        return torch.add(self.minus_one, doubled.sigmoid_(), alpha=2, out=doubled)


class _Gru(_Layer):
    """``h_t = n + z (h_{t-1} - n)`` with ``n = tanh(x_n + r h_n)``.

    The gates lie as r, z, h_n, x_n (later n): what the state adds to is one block of columns, so that the product with
    the state can add to it in place.
    """

    def _prepare(self) -> None:
        hidden = self.hidden
        rz_n = [2 * hidden, hidden]
        self.w_rz, self.w_n = torch.split(self.w_ih, rz_n, dim=1)
        self.g_w_rz, self.g_w_n = torch.split(self.g_w_ih, rz_n, dim=1)
        self.b_ih_rz, self.b_ih_n = torch.split(self.b_ih, rz_n, dim=1)
        self.b_hh_rz, self.b_hh_n = torch.split(self.b_hh, rz_n, dim=1)
        self.flat_rz, self.flat_state_part, self.flat_n = torch.split(self.flat_gates, [*rz_n, hidden], dim=2)
        self.flat_recurrent = self.flat_gates[:, :, : 3 * hidden]
        self.initial = self.inputs.new_zeros(self.networks, self.batch, hidden)
        self.gate_at = self.gates.unbind(1)
        self.rz_at = torch.split(self.flat_rz, self.batch, dim=1)
        recurrent_at = torch.split(self.flat_recurrent, self.batch, dim=1)
        self.recurrent_of_each_at = [part.unbind(0) for part in recurrent_at]
        self.r_at, self.z_at, self.state_part_at, self.n_at = (gate.unbind(1) for gate in self.gates.unbind(3))

    def forward(self) -> None:
        w_hh, b_rz = self.w_hh.mT.unbind(0), (self.b_ih_rz + self.b_hh_rz).unsqueeze(1)
        w_rz, w_n, b_n = self.w_rz.mT, self.w_n.mT, self.b_ih_n.unsqueeze(1)
        state = self.initial
        for t in range(self.steps):
            fed, k = divmod(t, self.kept_steps)
            if k == 0:
                torch.baddbmm(b_rz, self.fed_inputs[fed], w_rz, out=self.flat_rz)
                torch.baddbmm(b_n, self.fed_inputs[fed], w_n, beta=2, alpha=2, out=self.flat_n)
                self.flat_state_part.copy_(self.b_hh_n.unsqueeze(1))
            if t > 0:
                _add_products(self.recurrent_of_each_at[k], self.state_of_each_at[t - 1], w_hh)
            self.rz_at[k].sigmoid_()
            candidate = self._tanh_of_doubled(self.n_at[k].addcmul_(self.r_at[k], self.state_part_at[k], value=2))
            state = torch.lerp(candidate, state, self.z_at[k], out=self.state_at[t])

    def backward(self) -> None:
        r, z, state_part, n = self.gates.unbind(3)
        # Each gate becomes the derivative of h_t by what went into its activation; kept is that by h_{t-1}, past n.
        scratch, kept = self.scratch, self.kept.copy_(z)
        torch.sub(self.states[:, :-1], n[:, 1:], out=scratch[:, 1:])
        torch.neg(n[:, 0], out=scratch[:, 0])
        _sigmoid_backward(scratch, kept, grad_input=z)
        torch.sub(self.one, kept, out=scratch)
        _tanh_backward(scratch, n, grad_input=n)
        torch.mul(n, state_part, out=scratch)
        torch.mul(n, r, out=state_part)
        _sigmoid_backward(scratch, r, grad_input=r)
        w_hh = self.w_hh.unbind(0)
        for t in reversed(range(self.steps)):
            torch.mul(self.wide_d_state_at[t], self.gate_at[t], out=self.gate_at[t])
            if t > 0:
                self.d_state_at[t - 1].addcmul_(self.d_state_at[t], self.kept_at[t])
                _add_products(self.d_state_of_each_at[t - 1], self.recurrent_of_each_at[t], w_hh)

        torch.bmm(self.flat_recurrent[:, self.batch :].mT, self.past_states, out=self.g_w_hh)
        torch.bmm(self.flat_rz.mT, self.inputs, out=self.g_w_rz)
        torch.bmm(self.flat_n.mT, self.inputs, out=self.g_w_n)
        d_gates = self.flat_gates.sum(1)
        self.g_b_hh.copy_(d_gates[:, : -self.hidden])
        self.g_b_ih[:, : -self.hidden].copy_(d_gates[:, : -2 * self.hidden])
        self.g_b_ih[:, -self.hidden :].copy_(d_gates[:, -self.hidden :])
        if self.d_inputs is not None:
            torch.bmm(self.flat_rz, self.w_rz, out=self.d_inputs).baddbmm_(self.flat_n, self.w_n)


class _Lstm(_Layer):
    """``c_t = f c_{t-1} + i g``, ``h_t = o tanh(c_t)``; the gates lie as i, f, g, o."""

    def _prepare(self) -> None:
        self.cells, self.tanh_cells = self._buffers(2)
        self.cell_at, self.tanh_cell_at = self.cells.unbind(1), self.tanh_cells.unbind(1)
        self.scratch_at, self.all_at = self.scratch.unbind(1), torch.split(self.flat_gates, self.batch, dim=1)
        self.all_of_each_at = [gates.unbind(0) for gates in self.all_at]
        self.i_at, self.f_at, self.g_at, self.o_at = (gate.unbind(1) for gate in self.gates.unbind(3))
        self.ifg_at = self.gates[:, :, :, :3].unbind(1)
        self.d_cell = self.inputs.new_empty(self.networks, self.batch, self.hidden)

    def forward(self) -> None:
        w_ih, w_hh, bias = self.w_ih.mT, self.w_hh.mT.unbind(0), (self.b_ih + self.b_hh).unsqueeze(1)
        for t in range(self.steps):
            fed, k = divmod(t, self.kept_steps)
            if k == 0:
                torch.baddbmm(bias, self.fed_inputs[fed], w_ih, out=self.flat_gates)
            if t > 0:
                _add_products(self.all_of_each_at[k], self.state_of_each_at[t - 1], w_hh)
            g = self.g_at[k].mul_(self.two)
            self.all_at[k].sigmoid_()
            torch.add(self.minus_one, g, alpha=2, out=g)
            cell = torch.mul(self.i_at[k], g, out=self.cell_at[t])
            if t > 0:
                cell.addcmul_(self.f_at[k], self.cell_at[t - 1])
            tanh_cell = self._tanh_of_doubled(torch.mul(cell, self.two, out=self.tanh_cell_at[t]))
            torch.mul(self.o_at[k], tanh_cell, out=self.state_at[t])

    def backward(self) -> None:
        i, f, g, o = self.gates.unbind(3)
        # i, f, g become the derivatives of c_t by what went into their activations, o and scratch those of h_t by
        # that of o and by c_t; kept is that of c_t by c_{t-1}.
        tanh_cells, kept = self.tanh_cells, self.kept.copy_(f)
        _tanh_backward(o, tanh_cells, grad_input=self.scratch)
        _sigmoid_backward(tanh_cells, o, grad_input=o)
        _sigmoid_backward(g, i, grad_input=tanh_cells)
        _tanh_backward(i, g, grad_input=g)
        i.copy_(tanh_cells)
        _sigmoid_backward(self.cells[:, :-1], kept[:, 1:], grad_input=f[:, 1:])
        f[:, 0].zero_()
        d_cell = self.d_cell.zero_()
        wide_d_cell, w_hh = d_cell.unsqueeze(2), self.w_hh.unbind(0)
        for t in reversed(range(self.steps)):
            d_cell.addcmul_(self.d_state_at[t], self.scratch_at[t])
            torch.mul(wide_d_cell, self.ifg_at[t], out=self.ifg_at[t])
            self.o_at[t].mul_(self.d_state_at[t])
            if t > 0:
                d_cell.mul_(self.kept_at[t])
                _add_products(self.d_state_of_each_at[t - 1], self.all_of_each_at[t], w_hh)

        torch.bmm(self.flat_gates[:, self.batch :].mT, self.past_states, out=self.g_w_hh)
        torch.bmm(self.flat_gates.mT, self.inputs, out=self.g_w_ih)
        torch.sum(self.flat_gates, 1, out=self.g_b_hh)
        self.g_b_ih.copy_(self.g_b_hh)
        if self.d_inputs is not None:
            torch.bmm(self.flat_gates, self.w_ih, out=self.d_inputs)


class Bptt:
    """Passes of recurrent networks with a linear head on their last state, for one shape of batch.

    Holds one batch at a time: not thread-safe.

    Attributes:
        inputs: (M, T * B, I), to be filled before ``forward``.
    """

    def __init__(
        self,
        kind: Literal["GRU", "LSTM"],
        weights: Weights,
        gradients: Weights,
        steps: int,
        batch: int,
        *,
        keep_gates: bool,
    ) -> None:
        """Allocate buffers for ``batch`` windows of ``steps`` rows for each network.

        Unless ``keep_gates``, there is no ``backward``: the gates of one step are overwritten by those of the next.
        That is faster for many windows, whose gates then stay in the processor's cache, and slower for few.

        Args:
            kind: The kind of layers.
            weights: The networks' parameters, read in every pass: they must stay the same tensors.
            gradients: Tensors of the same names and shapes that ``backward`` writes to.
            steps: Rows of a window.
            batch: Windows.
            keep_gates: Keep the gates for ``backward``.
        """
        self._weight, self._bias = weights["head.weight"], weights["head.bias"].unsqueeze(1)
        self._g_weight, self._g_bias = gradients["head.weight"], gradients["head.bias"]
        networks, outputs, hidden = self._weight.shape
        self.inputs = self._weight.new_empty(networks, steps * batch, weights["rnn.weight_ih_l0"].shape[2])
        self._layers: list[_Layer] = []
        inputs, d_inputs = self.inputs, None
        for index in range(sum(name.startswith("rnn.weight_ih") for name in weights)):
            layer = {"GRU": _Gru, "LSTM": _Lstm}[kind](
                weights, gradients, index, inputs, d_inputs, steps, steps if keep_gates else 1
            )
            inputs, d_inputs = (
                tensor.view(networks, steps * batch, hidden) for tensor in (layer.states, layer.d_states)
            )
            self._layers.append(layer)
        self._outputs = self.inputs.new_empty(networks, batch, outputs)

    @torch.inference_mode()  # the bookkeeping of ``no_grad`` takes a tenth of a short pass
    def forward(self) -> Tensor:
        """Return (M, B, outputs); the tensor is overwritten by the next call."""
        for layer in self._layers:
            layer.forward()
        return torch.baddbmm(self._bias, self._layers[-1].state_at[-1], self._weight.mT, out=self._outputs)

    @torch.no_grad()
    def backward(self, d_outputs: Tensor) -> None:
        """Fill the gradients, given the loss's by the outputs (M, B, outputs) of the last ``forward``."""
        top = self._layers[-1]
        torch.bmm(d_outputs.mT, top.state_at[-1], out=self._g_weight)
        torch.sum(d_outputs, 1, out=self._g_bias)
        top.d_states[:, :-1].zero_()
        torch.bmm(d_outputs, self._weight, out=top.d_state_at[-1])
        for layer in reversed(self._layers):
            layer.backward()
