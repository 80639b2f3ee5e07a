"""Names that the static gate knows, with the reasons why the others are refused."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODULES = (
    "torch", "torch.nn", "torch.nn.functional", "triton", "triton.language", "triton.language.extra",
    "triton.language.extra.libdevice", "triton.language.extra.cuda", "math", "typing", "dataclasses", "__future__",
)  # fmt: skip

OPEN_MODULES = frozenset(
    (
        *MODULES, "torch.nn.init", "torch.nn.parameter", "torch.special", "torch.linalg", "torch.fft", "torch.cuda",
        "torch.amp", "torch.autograd", "triton.language.math",
    )
)  # fmt: skip
"""Modules through which a dotted path may lead."""
NAMES_OF = {
    "dataclasses": _names("dataclass field replace asdict astuple fields KW_ONLY"),
    "typing": _names(
        """
        Any Callable ClassVar Dict Final Iterable Iterator List Literal Mapping NamedTuple Optional Sequence Set Tuple
        Type TypeAlias Union TYPE_CHECKING cast
        """
    ),
    "__future__": _names("annotations"),
}
"""Of these modules the rest makes code, evaluates text, or is another module."""

BUILTINS = _names(
    """
    abs all any bool bytes callable complex dict divmod enumerate filter float format frozenset getattr hasattr
    int isinstance issubclass len list map max min next object pow property range repr reversed round set
    slice sorted staticmethod classmethod str sum super tuple type zip True False None NotImplemented Ellipsis
    __name__ ArithmeticError AssertionError Exception IndexError KeyError NotImplementedError OverflowError
    RuntimeError StopIteration TypeError ValueError ZeroDivisionError
    """
)
REFUSED_BUILTINS = {
    "eval": "runs text as code, which nobody could read beforehand",
    "exec": "runs text as code, which nobody could read beforehand",
    "compile": "runs text as code, which nobody could read beforehand",
    "__import__": "imports past the list of allowed modules",
    "open": "a candidate computes on its arguments and needs no files",
    "input": "nobody answers",
    "print": "what a candidate prints is thrown away",
    "globals": "reaches names past the gate",
    "locals": "reaches names past the gate",
    "vars": "reaches names past the gate",
    "dir": "reaches names past the gate",
    "setattr": "writes attributes past the gate",
    "delattr": "writes attributes past the gate",
    "id": "an address tells calls apart, not values: results must not depend on it",
    "hash": "tells inputs apart to know them again; a result must be computed every time",
    "memoryview": "reaches memory past torch",
    "bytearray": "state that is written later",
    "iter": "an iterator remembers how often it was asked",
    "breakpoint": "nobody answers",
    "exit": "ends the process; exit codes mean nothing here",
    "quit": "ends the process; exit codes mean nothing here",
    "BaseException": "catches even the judge's interruptions; name the error",
}

TORCH_NAMES = _names(
    """
    nn special linalg fft Tensor Size autograd cuda finfo iinfo amp device dtype no_grad inference_mode autocast
    is_tensor tensor
    """
)
"""Of torch itself, beside its operators and constants."""
TORCH_SPACES = ("nn", "special", "linalg", "fft", "Tensor", "Size", "autograd", "cuda", "finfo", "iinfo", "amp")
"""What may be followed by a further name, as in `torch.nn.functional`."""
NN_SPACES = ("functional", "init", "parameter", "Module", "Parameter")
ALLOWED_PATHS = _names(
    """
    torch.autograd.Function torch.amp.autocast torch.cuda.is_available torch.cuda.current_device
    torch.cuda.get_device_properties torch.cuda.get_device_capability torch.cuda.device
    torch.nn.parameter.Parameter
    """
)  # fmt: skip
_FLAGS = "changes how torch computes for the whole process; flags are pinned, equal for all"
_FILES = "reads or writes files"
_CODE = "makes or reaches code that the gate cannot read"
_ADDRESS = "reaches memory that was not given"
REFUSED_TORCH = {
    "compile": "torch.compile is a baseline; a candidate is the kernel itself",
    "load": _FILES, "save": _FILES, "from_file": _FILES, "hub": _FILES, "jit": _CODE, "ops": _CODE, "classes": _CODE,
    "library": "registers operators in the place of torch's own", "utils": _CODE, "overrides": _CODE, "package": _CODE,
    "export": _CODE, "fx": _CODE, "func": _CODE, "multiprocessing": "starts processes",
    "distributed": "opens sockets",
    "futures": "work that goes on after the call", "backends": _FLAGS, "set_default_dtype": _FLAGS,
    "set_default_device": _FLAGS, "set_default_tensor_type": _FLAGS, "set_num_threads": _FLAGS,
    "set_grad_enabled": _FLAGS,
    "set_num_interop_threads": _FLAGS, "set_float32_matmul_precision": _FLAGS, "use_deterministic_algorithms": _FLAGS,
    "set_flush_denormal": _FLAGS, "set_deterministic_debug_mode": _FLAGS, "manual_seed": _FLAGS, "seed": _FLAGS,
    "set_rng_state": _FLAGS, "set_printoptions": _FLAGS, "set_warn_always": _FLAGS, "random": _FLAGS,
    "frombuffer": _ADDRESS, "from_dlpack": _ADDRESS, "from_numpy": _ADDRESS, "UntypedStorage": _ADDRESS,
    "TypedStorage": _ADDRESS, "asarray": _ADDRESS, "profiler": "a clock; timing is the judge's", "mps": _FLAGS,
    "xpu": _FLAGS, "accelerator": _FLAGS, "Stream": "work on other streams escapes the judge's wait",
    "Event": "a clock; timing is the judge's", "Generator": "numbers that nobody drew for it",
}  # fmt: skip
REFUSED_CUDA = "streams, graphs and caches of the GPU: work there escapes the judge's wait or outlives the call"
TRITON_PATHS = ("jit", "cdiv", "next_power_of_2", "language", "constexpr_function")
REFUSED_TRITON = {
    "autotune": "it times inside the judged call, and its choice outlives it; write the winner down as constants",
    "Config": "it belongs to autotune; write the winner down as constants",
    "heuristics": "compute the value in Python and hand it over",
}

REFUSED_ATTRIBUTES = {
    "data_ptr": "an address tells calls apart, not values: results must not depend on it",
    "storage": _ADDRESS, "untyped_storage": _ADDRESS, "set_": _ADDRESS, "resize_": _ADDRESS, "share_memory_": _ADDRESS,
    "numpy": "leaves torch; arrays are not looked after", "__array__": _ADDRESS, "as_subclass": _CODE, "apply_": _CODE,
    "map_": _CODE, "register_hook": _CODE, "requires_grad_": "gradients are not asked for",
    "is_inference": "tells how it is called, on which no result may depend",
    "load_state_dict": "weights are the judge's", "pin_memory": _ADDRESS, "record_stream": REFUSED_CUDA,
}  # fmt: skip
REFUSED_ATTRIBUTES |= dict.fromkeys(
    _names(
        """
        gi_frame gi_code gi_yieldfrom cr_frame cr_code cr_await cr_origin ag_frame ag_code ag_await tb_frame tb_next
        mro f_back f_builtins f_code f_globals f_locals f_trace f_lineno f_lasti co_code co_consts co_names func_globals
        """
    ),
    "reaches what lies below Python's surface",
)
ONLY_CALLED = ("getattr", "hasattr", "type", "super", "object")
"""Builtins that the gate reads the arguments of."""
REGISTERING = _names("register_buffer register_module register_parameter add_module")
RANDOM = _names(
    """
    rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial poisson dropout
    alpha_dropout feature_alpha_dropout dropout1d dropout2d dropout3d native_dropout rrelu gumbel_softmax
    uniform_ normal_ random_ bernoulli_ exponential_ geometric_ cauchy_ log_normal_
    """
)
"""Functions and methods of torch that draw numbers; initial weights may."""
SWITCHES = _names("train eval apply zero_grad")
"""Methods that change a module."""
CASTS = _names("to cuda cpu half float double bfloat16 type")
"""Methods that change a module, and return something new of a tensor."""
WRITING_OPTIONS = ("training", "use_input_stats", "max_norm")
WRITING_FUNCTIONS = {"batch_norm": 5, "instance_norm": 5, "embedding": 3, "embedding_bag": 4}
"""Functions of torch that write into their arguments if one of these options says so; it may stand in that place."""
ITERATORS = ("zip", "map", "filter", "enumerate", "reversed")
MODULE_MACHINERY = _names(
    """
    load_state_dict state_dict parameters named_parameters buffers named_buffers children modules named_modules
    apply train eval to cuda cpu half float double bfloat16 type zero_grad register_parameter requires_grad_
    share_memory
    """
)
"""Methods of `torch.nn.Module` that the judge relies on."""
CONTEXTS = ("torch.no_grad", "torch.inference_mode", "torch.autocast", "torch.amp.autocast", "torch.cuda.device")
DECORATORS = (
    "triton.jit", "triton.constexpr_function", "torch.no_grad", "torch.inference_mode", "staticmethod", "classmethod",
    "property", "dataclasses.dataclass",
)  # fmt: skip
MUTATORS = _names(
    """
    append extend insert pop popitem clear update setdefault remove add discard sort reverse
    """
)
READERS = _names(
    """
    get items keys values index count copy
    """
)
READING_FUNCTIONS = _names(
    """
    len tuple min max sum sorted enumerate zip range any all dict list set iter
    """
)
PURE_CALLS = _names(
    """
    float int bool str tuple frozenset range len min max sum abs round pow sorted slice bytes complex list dict
    set
    """
)
"""What the top level may call, beside `math`, `tl.constexpr`, `tl.dtype` and `triton.next_power_of_2`."""
VIEWING_METHODS = _names(
    """
    view reshape t transpose detach contiguous float half bfloat16 double to expand unsqueeze squeeze permute
    flatten narrow select unbind chunk split view_as expand_as
    """
)
"""What may return the same memory under another name."""
COMPUTING_METHODS = _names(
    """
    matmul mm bmm addmm baddbmm mv dot add sub mul div pow sum mean var std prod cumsum cumprod softmax
    log_softmax sigmoid tanh exp log sqrt rsqrt relu gelu silu argmax argmin topk sort max min amax amin norm
    square abs neg reciprocal clamp where masked_fill scatter gather index_select einsum erf sin cos add_ sub_
    mul_ div_ exp_ relu_ sigmoid_ tanh_ masked_fill_ scatter_ scatter_add_ index_add_ clamp_ softplus logsumexp
    sinh cosh floor ceil round
    """
)
"""Methods of tensors that compute: a Triton candidate has kernels for that."""
