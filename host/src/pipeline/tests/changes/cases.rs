//! What is changed in each row of the table, and what comes out where that is not what came out before.

/// A row of the table.
#[derive(Debug)]
pub(super) struct Case {
    /// What changes, as the table says it.
    pub(super) name: &'static str,
    /// The windows of the third column.
    pub(super) window: &'static str,
    /// What the manifest has from the beginning that the usual one has not.
    pub(super) given: &'static [(&'static str, &'static str)],
    /// What is replaced in the manifest; what is not in it does not apply.
    pub(super) edits: &'static [(&'static str, &'static str)],
    /// Whether the steps get another version of their plugins.
    pub(super) newer: bool,
    /// The steps whose state is left behind.
    pub(super) drop: &'static [&'static str],
    /// Rows before the change, and after it.
    pub(super) before: &'static [&'static str],
    pub(super) after: &'static [&'static str],
    /// What comes out, where the cell says `new` or `at once`.
    pub(super) outcome: &'static [&'static str],
}

/// The usual case: a window of the others, rows of two keys, and another of the first.
const USUAL: Case = Case {
    name: "",
    window: "session = \"10ms\"",
    given: &[],
    edits: &[],
    newer: false,
    drop: &[],
    before: &["1 a", "2 b"],
    after: &["3 a"],
    outcome: &[],
};

/// A loop by what the first step does not give to the next.
const LOOP: &[(&str, &str)] =
    &[("\"more\"]", "\"more\", \"side\"]"), ("[output]", "[loop]\ntopic = \"side\"\nrounds = 4\n[output]")];

/// The rows, in the order of the table.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "source topic added at the end",
        edits: &[("topics = [\"in\", \"more\"]", "topics = [\"in\", \"more\", \"third\"]")],
        ..USUAL
    },
    Case {
        name: "source topic added in front",
        edits: &[("topics = [\"in\", \"more\"]", "topics = [\"third\", \"in\", \"more\"]")],
        ..USUAL
    },
    Case {
        name: "source topics in another order",
        edits: &[("topics = [\"in\", \"more\"]", "topics = [\"more\", \"in\"]")],
        ..USUAL
    },
    Case { name: "last source topic removed", edits: &[("topics = [\"in\", \"more\"]", "topics = [\"in\"]")], ..USUAL },
    Case {
        name: "`[loop]` added",
        edits: &[("\"more\"]", "\"more\", \"side\"]"), ("[output]", "[loop]\ntopic = \"side\"\nrounds = 4\n[output]")],
        ..USUAL
    },
    Case {
        name: "`[loop]` removed",
        given: LOOP,
        edits: &[(", \"side\"]", "]"), ("[loop]\ntopic = \"side\"\nrounds = 4\n", "")],
        ..USUAL
    },
    Case { name: "`rounds` of `[loop]`", given: LOOP, edits: &[("rounds = 4", "rounds = 2")], ..USUAL },
    Case {
        name: "topic of `[loop]`",
        given: LOOP,
        edits: &[
            ("\"side\"]", "\"side-2\"]"),
            ("topic = \"side\"", "topic = \"side-2\""),
            ("side = \"side\"", "side = \"side-2\""),
        ],
        ..USUAL
    },
    Case { name: "`start`", edits: &[("headers = true", "headers = true\nstart = \"latest\"")], ..USUAL },
    Case { name: "`headers`", edits: &[("headers = true", "headers = false")], ..USUAL },
    Case { name: "`disorder`", edits: &[("disorder = \"5ms\"", "disorder = \"1ms\"")], ..USUAL },
    Case {
        name: "`punctuated`",
        edits: &[("disorder = \"5ms\"", "punctuated = true"), ("side = \"side\"", "side = \"@watermark\"")],
        ..USUAL
    },
    Case { name: "`idle`", edits: &[("disorder = \"5ms\"", "disorder = \"5ms\"\nidle = \"1m\"")], ..USUAL },
    Case { name: "`drift`", edits: &[("disorder = \"5ms\"", "disorder = \"5ms\"\ndrift = \"1m\"")], ..USUAL },
    Case { name: "`ahead`", edits: &[("disorder = \"5ms\"", "disorder = \"5ms\"\nahead = \"1d\"")], ..USUAL },
    Case { name: "`after`", edits: &[("disorder = \"5ms\"", "disorder = \"5ms\"\nafter = \"parse\"")], ..USUAL },
    Case { name: "plugin version", newer: true, ..USUAL },
    Case { name: "plugin name", edits: &[("plugin = \"work\"", "plugin = \"work-2\"")], ..USUAL },
    Case { name: "`config`", edits: &[("config = {}", "config = { a = 1 }")], ..USUAL },
    Case {
        name: "kind of window",
        edits: &[("tumbling = \"10ms\"", "count = 5"), ("session = \"10ms\"", "count = 5")],
        ..USUAL
    },
    Case {
        name: "size of windows",
        window: "hopping = \"20ms\", slide = \"10ms\"",
        edits: &[("tumbling = \"10ms\"", "tumbling = \"20ms\""), ("hopping = \"20ms\"", "hopping = \"40ms\"")],
        ..USUAL
    },
    Case {
        name: "`offset`",
        window: "hopping = \"20ms\", slide = \"10ms\"",
        edits: &[
            ("tumbling = \"10ms\"", "tumbling = \"10ms\", offset = \"3ms\""),
            ("slide = \"10ms\"", "slide = \"10ms\", offset = \"3ms\""),
        ],
        ..USUAL
    },
    Case {
        name: "`slide`",
        window: "hopping = \"20ms\", slide = \"10ms\"",
        edits: &[("slide = \"10ms\"", "slide = \"5ms\"")],
        ..USUAL
    },
    Case {
        name: "gap of a `session`",
        edits: &[("session = \"10ms\"", "session = \"20ms\"")],
        after: &["8 a", "20 a"],
        outcome: &["b 2 1", "a 1 3"],
        ..USUAL
    },
    Case {
        name: "`gap-header`",
        edits: &[("session = \"10ms\"", "session = \"10ms\", gap-header = \"gap\"")],
        after: &["8 a 50", "20 a"],
        outcome: &["b 2 1", "a 1 3"],
        ..USUAL
    },
    Case { name: "rows of a `count` window", window: "count = 2", edits: &[("count = 2", "count = 3")], ..USUAL },
    Case {
        name: "`lateness` longer",
        window: "session = \"10ms\", lateness = \"5ms\"",
        edits: &[
            ("tumbling = \"10ms\"", "tumbling = \"10ms\", lateness = \"50ms\""),
            ("lateness = \"5ms\"", "lateness = \"50ms\""),
        ],
        before: &["1 a", "2 b", "60 c"],
        after: &["1 a", "90 d", "62 c"],
        outcome: &["a 1 1", "b 2 1", "c 60 1", "c 60 2"],
        ..USUAL
    },
    Case {
        name: "first `lateness`",
        edits: &[("session = \"10ms\"", "session = \"10ms\", lateness = \"50ms\"")],
        before: &["1 a", "2 b", "60 c"],
        after: &["1 a", "90 d", "62 c"],
        outcome: &["a 1 1", "b 2 1", "c 60 1", "c 60 2"],
        ..USUAL
    },
    Case {
        name: "`lateness` shorter",
        window: "session = \"10ms\", lateness = \"50ms\"",
        edits: &[("lateness = \"50ms\"", "lateness = \"5ms\"")],
        before: &["60 c"],
        after: &["90 d", "62 c"],
        outcome: &["c 60 1"],
        ..USUAL
    },
    Case {
        name: "`early` by event time",
        window: "global = true, early-rows = 3",
        edits: &[
            ("tumbling = \"10ms\"", "tumbling = \"10ms\", early = \"10ms\""),
            ("early-rows = 3", "early = \"10ms\""),
        ],
        outcome: &["a -9223372036854775808 2", "b -9223372036854775808 1"],
        ..USUAL
    },
    Case {
        name: "`early` at other times",
        window: "global = true, early = \"1m\"",
        edits: &[("early = \"1m\"", "early = \"10ms\"")],
        outcome: &["a -9223372036854775808 2", "b -9223372036854775808 1"],
        ..USUAL
    },
    Case {
        name: "`early` by the clock",
        window: "global = true, early-rows = 3",
        edits: &[
            ("tumbling = \"10ms\"", "tumbling = \"10ms\", early = \"10ms\", early-clock = \"processing\""),
            ("early-rows = 3", "early = \"10ms\", early-clock = \"processing\""),
        ],
        outcome: &["a -9223372036854775808 2", "b -9223372036854775808 1"],
        ..USUAL
    },
    Case {
        name: "`early` not by the clock any more",
        window: "global = true, early = \"10ms\", early-clock = \"processing\"",
        edits: &[("early = \"10ms\", early-clock = \"processing\"", "early-rows = 2")],
        outcome: &["a -9223372036854775808 2"],
        ..USUAL
    },
    Case {
        name: "`early-rows`",
        window: "global = true, early = \"1m\"",
        edits: &[("tumbling = \"10ms\"", "tumbling = \"10ms\", early-rows = 2"), ("early = \"1m\"", "early-rows = 2")],
        outcome: &["a -9223372036854775808 2"],
        ..USUAL
    },
    Case {
        name: "early results removed",
        window: "tumbling = \"10ms\", lateness = \"20ms\", early = \"2ms\"",
        edits: &[(", early = \"2ms\"", "")],
        after: &["8 a", "9 a"],
        outcome: &["a 0 3", "b 0 1"],
        ..USUAL
    },
    Case {
        name: "`results`",
        edits: &[
            ("tumbling = \"10ms\"", "tumbling = \"10ms\", results = \"discarding\""),
            ("session = \"10ms\"", "session = \"10ms\", results = \"discarding\""),
        ],
        ..USUAL
    },
    Case { name: "`late`", edits: &[("late = \"late\"", "late = \"late-2\"")], ..USUAL },
    Case { name: "`outputs`", edits: &[("side = \"side\"", "side = \"aside\"")], ..USUAL },
    Case { name: "`[output]`", edits: &[("topic = \"out\"", "topic = \"out-2\"")], ..USUAL },
    Case { name: "`[dead-letters]`", edits: &[("topic = \"dead\"", "topic = \"dead-2\"")], ..USUAL },
    Case { name: "`[checkpoint]`", edits: &[("[source]", "[checkpoint]\nkeep = 3\n[source]")], ..USUAL },
    Case {
        name: "table added",
        edits: &[("[[tables]]", "[[tables]]\nname = \"places\"\ntopic = \"places\"\n[[tables]]")],
        ..USUAL
    },
    Case {
        name: "table removed",
        edits: &[("[[tables]]\nname = \"users\"\ntopic = \"users\"\n", ""), ("lookup = [\"users\"]\n", "")],
        ..USUAL
    },
    Case { name: "topic of a table", edits: &[("topic = \"users\"", "topic = \"people\"")], ..USUAL },
    Case {
        name: "table renamed",
        edits: &[("name = \"users\"", "name = \"people\""), ("lookup = [\"users\"]", "lookup = [\"people\"]")],
        ..USUAL
    },
    Case { name: "`lookup`", edits: &[("lookup = [\"users\"]\n", "")], ..USUAL },
    Case {
        name: "transform inserted",
        edits: &[(
            "[[steps]]\nname = \"pass\"",
            "[[steps]]\nname = \"again\"\nplugin = \"pass\"\n[[steps]]\nname = \"pass\"",
        )],
        ..USUAL
    },
    Case {
        name: "transforms in another order",
        edits: &[(
            "name = \"parse\"\nplugin = \"parse\"\nlookup = [\"users\"]\noutputs = { side = \"side\" }\n[[steps]]\nname = \"pass\"\nplugin = \"pass\"\n",
            "name = \"pass\"\nplugin = \"pass\"\n[[steps]]\nname = \"parse\"\nplugin = \"parse\"\n",
        )],
        ..USUAL
    },
    Case {
        name: "step removed",
        edits: &[
            ("[[steps]]\nname = \"work\"\nplugin = \"work\"\nconfig = {}\n", ""),
            ("window = { tumbling = \"10ms\" }\nlate = \"late\"\n", ""),
            ("window = { session = \"10ms\" }\nlate = \"late\"\n", ""),
            ("grants = [\"table\"]\n", ""),
        ],
        ..USUAL
    },
    Case { name: "step renamed", edits: &[("name = \"work\"", "name = \"job\"")], ..USUAL },
    Case { name: "step renamed, with `was`", edits: &[("name = \"work\"", "name = \"job\"\nwas = \"work\"")], ..USUAL },
    Case { name: "`--drop-state`", drop: &["work"], ..USUAL },
    Case {
        name: "lateness of `tumbling` removed",
        window: "tumbling = \"10ms\", lateness = \"20ms\"",
        edits: &[(", lateness = \"20ms\"", "")],
        ..USUAL
    },
    Case {
        name: "early results of `tumbling` removed, without `lateness`",
        window: "tumbling = \"10ms\", early = \"2ms\"",
        edits: &[(", early = \"2ms\"", "")],
        ..USUAL
    },
    Case {
        name: "early results added to `hopping` windows that overlap",
        window: "hopping = \"20ms\", slide = \"10ms\"",
        edits: &[("slide = \"10ms\"", "slide = \"10ms\", early = \"2ms\"")],
        ..USUAL
    },
    Case {
        name: "early results removed from `hopping` windows that overlap",
        window: "hopping = \"20ms\", slide = \"10ms\", early-rows = 2",
        edits: &[(", early-rows = 2", "")],
        ..USUAL
    },
];
