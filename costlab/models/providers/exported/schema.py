"""The JSON of an exported program, checked field by field: what is not in these tables is refused.

They restate `torch/_export/serde/schema.py` (version 8, torch 2.11 to 2.14), each field with the kind of its value:
`Record` or scalar, `[kind]` a list, `{kind}` a dictionary with string keys; a `?` allows null and may be left out.
"""

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from costlab.errors import CostlabError

MAJOR = 8
TEXT_LIMIT = 1 << 20  # characters of one string

RECORDS = {
    "ExportedProgram": "graph_module:GraphModule opset_version:{int} range_constraints:{RangeConstraint}"
    " schema_version:SchemaVersion verifiers:[text]? torch_version:text? guards_code:[text]?",
    "SchemaVersion": "major:int minor:int",
    "RangeConstraint": "min_val:int? max_val:int?",
    "GraphModule": "graph:Graph signature:GraphSignature module_call_graph:[ModuleCallEntry] metadata:{text}?"
    " treespec_namedtuple_fields:{NamedTupleDef}?",
    "NamedTupleDef": "field_names:[name]",
    "ModuleCallEntry": "fqn:path signature:ModuleCallSignature?",
    "ModuleCallSignature": "inputs:[Argument] outputs:[Argument] in_spec:text out_spec:text forward_arg_names:[name]?",
    "GraphSignature": "input_specs:[InputSpec] output_specs:[OutputSpec]",
    "Graph": "inputs:[Argument] outputs:[Argument] nodes:[Node] tensor_values:{TensorMeta} sym_int_values:{SymInt}"
    " sym_bool_values:{SymBool} is_single_tensor_return:bool? custom_obj_values:{CustomObjArgument}?"
    " sym_float_values:{SymFloat}?",
    "Node": "target:target inputs:[NamedArgument] outputs:[Argument] metadata:{text} is_hop_single_tensor_return:bool?"
    " name:name?",
    "NamedArgument": "name:argument arg:Argument kind:int?",
    "TensorMeta": "dtype:int sizes:[SymInt] requires_grad:bool device:Device strides:[SymInt] storage_offset:SymInt"
    " layout:int",
    "Device": "type:name index:int?",
    "SymExpr": "expr_str:text hint:SymExprHint?",
    "ComplexValue": "real:float imag:float",
    "TensorArgument": "name:name",
    "TokenArgument": "name:name",
    "GraphArgument": "name:name graph:Graph",
    "CustomObjArgument": "name:name class_fqn:text",
    "UserInputSpec": "arg:Argument",
    "InputToConstantInputSpec": "name:name value:ConstantValue",
    "InputToParameterSpec": "arg:TensorArgument parameter_name:path",
    "InputToBufferSpec": "arg:TensorArgument buffer_name:path persistent:bool",
    "InputToTensorConstantSpec": "arg:TensorArgument tensor_constant_name:path",
    "InputToCustomObjSpec": "arg:CustomObjArgument custom_obj_name:path",
    "InputTokenSpec": "arg:TokenArgument",
    "UserOutputSpec": "arg:Argument",
    "LossOutputSpec": "arg:TensorArgument",
    "BufferMutationSpec": "arg:TensorArgument buffer_name:path",
    "ParameterMutationSpec": "arg:TensorArgument parameter_name:path",
    "GradientToParameterSpec": "arg:TensorArgument parameter_name:path",
    "GradientToUserInputSpec": "arg:TensorArgument user_input_name:name",
    "UserInputMutationSpec": "arg:TensorArgument user_input_name:name",
    "OutputTokenSpec": "arg:TokenArgument",
    "PayloadConfig": "config:{PayloadMeta}",
    "PayloadMeta": "path_name:name is_param:bool use_pickle:bool tensor_meta:TensorMeta?",
    "TreeSpec": "type:text? context:text? children_spec:[TreeSpec]",
}

UNIONS = {
    "SymExprHint": "as_int:int as_bool:bool as_float:float",
    "SymInt": "as_expr:SymExpr as_int:int",
    "SymFloat": "as_expr:SymExpr as_float:float",
    "SymBool": "as_expr:SymExpr as_bool:bool",
    "SymIntArgument": "as_name:name as_int:int",
    "SymFloatArgument": "as_name:name as_float:float",
    "SymBoolArgument": "as_name:name as_bool:bool",
    "OptionalTensorArgument": "as_tensor:TensorArgument as_none:bool",
    "Argument": "as_none:bool as_tensor:TensorArgument as_tensors:[TensorArgument] as_int:int as_ints:[int]"
    " as_float:float as_floats:[float] as_string:text as_strings:[text] as_sym_int:SymIntArgument"
    " as_sym_ints:[SymIntArgument] as_scalar_type:int as_memory_format:int as_layout:int as_device:Device as_bool:bool"
    " as_bools:[bool] as_sym_bool:SymBoolArgument as_sym_bools:[SymBoolArgument] as_graph:GraphArgument"
    " as_optional_tensors:[OptionalTensorArgument] as_custom_obj:CustomObjArgument as_operator:target"
    " as_sym_float:SymFloatArgument as_sym_floats:[SymFloatArgument] as_optional_tensor:OptionalTensorArgument"
    " as_complex:ComplexValue as_nested_tensors:[[TensorArgument]] as_int_lists:[[int]]"
    " as_string_to_argument:{Argument} as_float_lists:[[float]]",
    "ConstantValue": "as_none:bool as_int:int as_float:float as_string:text as_bool:bool",
    "InputSpec": "user_input:UserInputSpec parameter:InputToParameterSpec buffer:InputToBufferSpec"
    " tensor_constant:InputToTensorConstantSpec custom_obj:InputToCustomObjSpec token:InputTokenSpec"
    " constant_input:InputToConstantInputSpec",
    "OutputSpec": "user_output:UserOutputSpec loss_output:LossOutputSpec buffer_mutation:BufferMutationSpec"
    " gradient_to_parameter:GradientToParameterSpec gradient_to_user_input:GradientToUserInputSpec"
    " user_input_mutation:UserInputMutationSpec token:OutputTokenSpec parameter_mutation:ParameterMutationSpec",
}

PATTERNS = {
    "name": re.compile(r"[A-Za-z_][\w.]{0,999}", re.ASCII),
    "argument": re.compile(r"([A-Za-z_]\w{0,999})?", re.ASCII),
    "target": re.compile(r"#?[A-Za-z_][\w.:]{0,999}", re.ASCII),
    "path": re.compile(r"[^\x00-\x1f\x7f]{0,1000}"),
    "text": re.compile(r"[\s\S]*"),
}
FLOATS = ("Infinity", "-Infinity", "NaN")  # as JSON text, which lacks them as numbers


class UnknownFieldError(ValueError):
    """A document has a field or value that the tables do not allow."""


Check = Callable[[Any], None]


def load(content: bytes, kind: str, where: str) -> Any:
    """A JSON document that is `kind`, as plain dictionaries and lists.

    Args:
        where: what the document is, for the error: "net.pt2: models/model.json".

    Raises:
        CostlabError: the text is not JSON, or has a field or value that the tables do not allow.
    """
    try:
        document = json.loads(content.decode(), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise CostlabError(f"{where} is corrupt: it is not JSON") from None
    return check(document, kind, where)


def check(document: Any, kind: str, where: str) -> Any:
    """`document` itself, once every field in it is allowed. Raises CostlabError."""
    try:
        checker(kind)(document)
    except UnknownFieldError as error:
        raise malformed(where, str(error)) from None
    except RecursionError:
        raise CostlabError(f"{where} is nested too deeply") from None
    return document


def malformed(where: str, what: str) -> CostlabError:
    """The error that a file is not what torch.export.save writes."""
    return CostlabError(f"{where} is not a program of torch 2.11 to 2.14: {what}")


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


@functools.cache
def checker(kind: str) -> Check:
    """The function that raises UnknownFieldError unless its argument is `kind`."""
    if kind[0] == "[":
        return list_of(checker(kind[1:-1]))
    if kind[0] == "{":
        return dictionary_of(checker(kind[1:-1]))
    if kind in PATTERNS:
        return text_like(kind)
    if kind in UNIONS:
        return union(kind)
    return record(kind) if kind in RECORDS else SCALARS[kind]


def is_int(value: Any) -> None:
    """Check for an integer of 64 bits."""
    if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
        raise UnknownFieldError(f"{brief(value)} is not a 64-bit integer")


def is_bool(value: Any) -> None:
    """Check for true or false."""
    if type(value) is not bool:
        raise UnknownFieldError(f"{brief(value)} is not true or false")


def is_float(value: Any) -> None:
    """Check for a number, or one of the words that torch writes for a number that JSON cannot hold."""
    if type(value) not in (int, float) and value not in FLOATS:
        raise UnknownFieldError(f"{brief(value)} is not a number")


SCALARS: dict[str, Check] = {"int": is_int, "bool": is_bool, "float": is_float}


def text_like(kind: str) -> Check:
    """A check for a text that matches a pattern."""
    matches = PATTERNS[kind].fullmatch

    def check_text(value: Any) -> None:
        if type(value) is not str or len(value) > TEXT_LIMIT or not matches(value):
            raise UnknownFieldError(f"{brief(value)} is not a {kind}")

    return check_text


def list_of(item: Check) -> Check:
    """A check for a list whose entries pass another check."""

    def check_list(value: Any) -> None:
        if type(value) is not list:
            raise UnknownFieldError(f"{brief(value)} is not a list")
        for entry in value:
            item(entry)

    return check_list


def dictionary_of(item: Check) -> Check:
    """A check for an object whose values pass another check."""

    def check_dictionary(value: Any) -> None:
        if type(value) is not dict:
            raise UnknownFieldError(f"{brief(value)} is not an object")
        for entry in value.values():
            item(entry)

    return check_dictionary


def fields_of(table: dict[str, str], kind: str) -> dict[str, str]:
    """The fields of a record or union, with the kind of each."""
    return dict(field.split(":", 1) for field in table[kind].split())


def record(kind: str) -> Check:
    """A check for an object with the fields of a record."""
    fields = fields_of(RECORDS, kind)
    required = {name for name, value in fields.items() if not value.endswith("?")}
    optional = set(fields) - required
    checks: dict[str, Check] = {}  # filled at the first use: records contain one another

    def check_record(value: Any) -> None:
        if type(value) is not dict:
            raise UnknownFieldError(f"{brief(value)} is not a {kind}")
        if not checks:
            checks.update({name: checker(inner.removesuffix("?")) for name, inner in fields.items()})
        for name, content in value.items():
            if name not in checks:
                raise UnknownFieldError(f"{kind} has the unknown field {brief(name)}")
            if content is not None or name not in optional:
                checks[name](content)
        if not required <= value.keys():
            raise UnknownFieldError(f"{kind} lacks the field {min(required - value.keys())!r}")

    return check_record


def union(kind: str) -> Check:
    """A check for an object with exactly one field, of those that a union has."""
    fields = fields_of(UNIONS, kind)
    checks: dict[str, Check] = {}

    def check_union(value: Any) -> None:
        if type(value) is not dict or len(value) != 1:
            raise UnknownFieldError(f"{brief(value)} is not a {kind}")
        if not checks:
            checks.update({name: checker(inner) for name, inner in fields.items()})
        ((name, content),) = value.items()
        if name not in checks:
            raise UnknownFieldError(f"{kind} has the unknown field {brief(name)}")
        checks[name](content)

    return check_union


def brief(value: Any) -> str:
    """A value in a message, in at most 60 characters."""
    text = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
