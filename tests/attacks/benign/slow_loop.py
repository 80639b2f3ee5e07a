# shows: correct but slow: row by row, column by column
# case: softmax fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        rows = []
        for row in x:
            power = torch.exp(row - row.max())
            total = torch.zeros((), dtype=x.dtype, device=x.device)
            for value in power:
                total = total + value
            rows.append(power / total)
        return torch.stack(rows)
