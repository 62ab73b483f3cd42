# SPDX-License-Identifier: MIT
"""Templates rendered by Jinja2 as transformers sets it up."""
import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """{% generation %}: its body as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def render(case):
    """{"text": …} or {"error": …} for {"template", "variables", "messages", …}."""
    variables = dict(case.get("variables", {}))
    if "messages" in case:
        variables["messages"] = case["messages"]
    variables["add_generation_prompt"] = case.get("add_generation_prompt", False)
    env = environment()
    if "date" in case:
        import datetime
        day = datetime.datetime.strptime(case["date"], "%Y-%m-%d")
        env.globals["strftime_now"] = day.strftime
    try:
        return {"text": env.from_string(case["template"]).render(**variables)}
    except Exception as fault:  # whatever ends a render
        return {"error": "%s: %s" % (type(fault).__name__, fault)}
