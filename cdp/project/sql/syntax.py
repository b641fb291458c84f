"""What may stand in SQL: the node types of sqlglot, and of each the arguments.

Queries that are governed and SELECTs that authors write are held to the same list. An allowlist: a node, an argument or a
function that is not on it is refused by name, so that syntax which a new sqlglot learns fails closed. Left off on purpose:
what raises with a value in its text (`raise_error`, `assert_true`), what reads the machine (`reflect`, `current_user`,
`input_file_name`), what gives another answer on the next run (`rand`, `uuid`, `current_timestamp`), what hides names (`*`,
PIVOT, NATURAL JOIN, `stack`), and variables that Spark replaces in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

Args = Mapping[type[exp.Expr], frozenset[str]]


class Unsupported(Exception):
    """A query uses what the walk does not know, so nothing is known of what it tells.

    Attributes:
        message: the node, clause, function or name; never a literal of the query.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _table(text: str) -> Args:
    """Lines of `arguments: node types` as a mapping."""
    rows = (line.partition(":") for line in text.strip().splitlines())
    return {getattr(exp, name): frozenset(args.split()) for args, _, names in rows for name in names.split()}


# The parts of a query. What they mean is in `taint`, one function each.
CLAUSES = _table("""
    with_ expressions distinct from_ joins laterals where group having windows order limit offset: Select
    with_ this expression distinct order limit offset: Union Except Intersect
    with_ this alias: Subquery
    this db catalog alias: Table
    this alias: CTE
    this columns: TableAlias
    this on side kind using: Join
    this view outer alias: Lateral
    expressions: With Group
    expressions alias: Values
    expression: Limit Offset
    this: From Where Having
    this partition_by order spec alias over: Window
""")

# Values that depend on nothing but what stands in them.
SCALARS = _table("""
    this: Paren Not Neg Upper Lower Length Reverse Ascii Hex Unhex MD5 Abs Floor Ceil Sqrt IsNan
    this: Sign Ln Exp UnixMicros
    this: Year Month Day DayOfMonth DayOfWeek WeekOfYear Quarter Hour Minute LastDay TsOrDsToDate TimeStrToTime
    this: ArraySize ArrayMax ArrayMin ArrayDistinct Flatten MapKeys JSONFormat
    this expression: And Or EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ Is Like ILike RegexpLike Escape
    this expression: StartsWith EndsWith Contains Add Sub Mul Mod Pow Nullif Nanvl Left Right Levenshtein RegexpSplit ArrayContains
    this expression: AddMonths MonthsBetween SafeDivide SafeAdd Initcap Transform ArrayFilter ArrayToString JSONExtractScalar
    this expression: IntDiv ArrayPosition
    this expression safe: DPipe
    this expression typed safe: Div
    this low high: Between
    this expressions query: In
    this ifs default: Case
    this true false: If Nvl2
    this expressions: Coalesce
    this expressions ignore_nulls: Greatest Least
    this to: Cast
    this to safe: TryCast
    this expressions offset safe: Bracket
    this alias: Alias
    this unit: Interval TimestampTrunc DateTrunc
    this expression unit: TsOrDsAdd TimestampAdd DateAdd DateSub DateDiff TimestampDiff
    this format: StrToTime StrToUnix TimeToStr
    this position expression: Trim
    this start length: Substring
    this start end is_length: ArraySlice
    this expression fill_pattern is_left: Pad
    this expression replacement: Replace RegexpReplace
    this expression group null_if_pos_overflow: RegexpExtract
    this from_ to: Translate
    this substr: StrPosition
    this decimals: Round
    this times: Repeat
    this delimiter part_index: SplitPart
    this zone: AtTimeZone
    this length: SHA2
    this initial merge finish: Reduce
    this asc nulls_first: ArraySort
    this expression variant_extract: JSONExtract
    expressions: Struct Array Tuple JSONPath
    expressions safe: Concat
    expressions safe coalesce flatten: ConcatWs
    keys values: VarMap Map
    this: JSONPathKey JSONPathSubscript
    : JSONPathRoot
""")

# Values that also tell which rows there were.
AGGREGATES = _table("""
    this: Sum Avg Min Max AnyValue First Last ArrayUniqueAgg CountIf LogicalOr LogicalAnd
    this: Stddev StddevPop StddevSamp Variance VariancePop Median Mode ApproxDistinct PercentileCont PercentileDisc
    this big_int: Count
    this expression: ArgMin ArgMax
    this quantile: Quantile ApproxQuantile
    this nulls_excluded: ArrayAgg
    this separator: GroupConcat
""")

# Allowed beside an aggregate only.
AROUND_AGGREGATES = _table("""
    this: IgnoreNulls RespectNulls
    this expression: Filter WithinGroup
    expressions: Distinct
    this expressions: Order
    this desc nulls_first: Ordered
    kind start start_side end end_side: WindowSpec
""")

# Allowed under OVER only.
WINDOW_FUNCTIONS = _table("""
    : RowNumber Rank DenseRank PercentRank CumeDist
    this: Ntile FirstValue LastValue
    this offset default: Lag Lead
    this offset: NthValue
""")

GENERATORS = _table("""
    this: Explode ExplodeOuter Posexplode PosexplodeOuter
""")

SPECIAL = _table("""
    this table: Column
    this quoted: Identifier
    this is_string: Literal
    this: Boolean DataTypeParam Placeholder Var
    : Null Star
    this expressions: Anonymous Lambda
    this expression: Exists Dot PropertyEQ
    this expression: Extract
    this expressions nested: DataType
""")

ARGS: Args = {**CLAUSES, **SCALARS, **AGGREGATES, **AROUND_AGGREGATES, **WINDOW_FUNCTIONS, **GENERATORS, **SPECIAL}

# Functions that sqlglot has no node for.
FUNCTIONS = frozenset(
    {
        "xxhash64",
        "make_date",
        "forall",
        "isnull",
        "isnotnull",
        "cardinality",
        "try_to_timestamp",
        "from_utc_timestamp",
        "unix_micros",
        "array_append",
        "get",
    }
)

# The words that may stand without quotes. Any other could be a column that nobody looked at.
_UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")
UNITS = frozenset({*_UNITS, *(f"{unit}S" for unit in _UNITS)})


def refused(node: exp.Expr) -> str:
    """The node's type, or its type and one of its arguments, if that is not on the list; else an empty text."""
    kind = type(node)
    allowed = ARGS.get(kind)
    if allowed is None:
        return kind.__name__
    if node.args.keys() <= allowed:
        return ""
    return next((f"{kind.__name__}.{arg.rstrip('_')}" for arg, value in node.args.items() if value and arg not in allowed), "")


_IDENTIFIER = ARGS[exp.Identifier]


def check(node: exp.Expr) -> None:
    """Refuses a node whose type or one of whose arguments is not on the list.

    Raises:
        Unsupported: naming the type, or the type and the argument.
    """
    allowed = ARGS.get(type(node))
    if allowed is not None and node.args.keys() <= allowed:
        return  # asked of each of a hundred nodes of each query: the way out that nearly all take
    if what := refused(node):
        raise Unsupported(f"{what} is not supported in a governed query")


def name_of(node: exp.Expr | str | None) -> str:
    """A name as Spark compares it. An empty text for none.

    Raises:
        Unsupported: the name is neither a word nor an identifier.
    """
    if node is None:
        return ""
    if type(node) is exp.Identifier:
        args = node.args
        if not args.keys() <= _IDENTIFIER:
            check(node)
        name: str = args["this"]
        return name.lower()
    if isinstance(node, str):
        return node.lower()
    raise Unsupported(f"{type(node).__name__} in the place of a name is not supported in a governed query")


def operands(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """What a chain of AND (or OR) joins, through parentheses, from left to right; without recursion, for chains are long."""
    stack = [node]
    while stack:
        part = stack.pop()
        while type(part) is exp.Paren:
            check(part)
            part = part.args["this"]
        if type(part) is kind:
            check(part)
            stack += (part.args["expression"], part.args["this"])
        else:
            yield part


def same(a: object, b: object) -> bool:
    """Are two trees equal, argument by argument? The `==` of sqlglot compares hashes."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, exp.Expr) and isinstance(b, exp.Expr):
        return a.args.keys() == b.args.keys() and all(map(same, a.args.values(), [b.args[arg] for arg in a.args]))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
