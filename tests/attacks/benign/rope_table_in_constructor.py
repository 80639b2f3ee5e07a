# shows: rotary frequencies made by the constructor; rotation as a complex product
# case: qk_norm_rope bf16
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, head_dim, base=10000.0, eps=1e-6):
        super().__init__()
        self.q_weight = torch.nn.Parameter(torch.ones(head_dim))
        self.k_weight = torch.nn.Parameter(torch.ones(head_dim))
        half = head_dim // 2
        self.inverse = base ** (-torch.arange(half, dtype=torch.float32) / half)
        self.eps = eps

    def forward(self, q, k, positions):
        angle = positions.to(torch.float32)[:, None, :, None] * self.inverse.to(q.device)
        turn = torch.polar(torch.ones_like(angle), angle)
        return self.turned(q, self.q_weight, turn), self.turned(k, self.k_weight, turn)

    def turned(self, x, weight, turn):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * weight.float()
        both = torch.complex(*wide.chunk(2, -1)) * turn
        return torch.cat((both.real, both.imag), -1).to(x.dtype)
