"""Published outputs of models, and what they come to: from the public tests of vLLM, named with each of them.

An example is a family, the special tokens it is written with, what its template has of the markers, the output, and
what that comes to.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

VLLM = "vllm-project/vllm: "
THINK = ("<think>", "</think>")
HERMES = ("<tool_call>", "</tool_call>")


class Example(Struct, frozen=True, kw_only=True):
    """``template`` is what shows, in the chat template, how the family calls tools; ``reasons``: the prompt ends within
    the reasoning; ``header``: it ends in a message's header."""

    family: str
    source: str
    output: str
    specials: tuple[str, ...] = ()
    template: str = ""
    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    reasons: bool = False
    header: bool = False
    flawed: bool = False
    parameters: dict[str, Any] = {}


WEATHER = (("get_weather", {"city": "Tokyo"}),)
TWO = (*WEATHER, ("get_time", {"timezone": "Asia/Tokyo"}))
HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>")
COHERE = (
    "<|START_THINKING|>",
    "<|END_THINKING|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|START_ACTION|>",
    "<|END_ACTION|>",
)
DEEPSEEK = (
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁sep｜>",
    *THINK,
)
KIMI = (
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
)
MISTRAL = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]")
SEED = ("<seed:think>", "</seed:think>", "<seed:tool_call>", "</seed:tool_call>")
K3 = ("<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>")

EXAMPLES: tuple[Example, ...] = (
    # gpt-oss
    Example(
        family="gpt-oss",
        source=VLLM + "tests/reasoning/test_gptoss_reasoning_parser.py",
        specials=HARMONY,
        output="<|channel|>analysis<|message|>This is reasoning<|end|><|start|>assistant<|channel|>final<|message|>"
        "This is the rest",
        header=True,
        reasoning="This is reasoning",
        text="This is the rest",
    ),
    Example(
        family="gpt-oss",
        source=VLLM + "tests/reasoning/test_gptoss_reasoning_parser.py",
        specials=HARMONY,
        output="<|channel|>analysis<|message|>This is reasoning<|end|><|start|>assistant<|channel|>final<|constrain|>"
        " JSON <|message|>This is the rest",
        reasoning="This is reasoning",
        text="This is the rest",
    ),
    Example(
        family="gpt-oss",
        source=VLLM + "tests/tool_parsers/test_openai_tool_parser.py",
        specials=HARMONY,
        output="<|channel|>analysis<|message|>We need to use get_current_weather tool.<|end|><|start|>assistant"
        '<|channel|>commentary to=functions.get_current_weather <|constrain|>json<|message|>{\n"location": "Tokyo"\n}'
        "<|call|>",
        header=True,
        reasoning="We need to use get_current_weather tool.",
        calls=(("get_current_weather", {"location": "Tokyo"}),),
    ),
    Example(
        family="gpt-oss",
        source=VLLM + "tests/tool_parsers/test_openai_tool_parser.py",
        specials=HARMONY,
        output=" to=functions.get_current_weather<|channel|>commentary <|constrain|>json<|message|>"
        '{"location": "Tokyo"}<|call|><|start|>assistant to=functions.no_content_type<|channel|>commentary<|message|>'
        '{"location": "Tokyo"}<|call|><|start|>assistant to=functions.no_args<|channel|>commentary <|constrain|>json'
        "<|message|><|call|><|start|>assistant<|channel|>final<|message|>This tool call will get the weather.",
        header=True,
        text="This tool call will get the weather.",
        calls=(
            ("get_current_weather", {"location": "Tokyo"}),
            ("no_content_type", {"location": "Tokyo"}),
            ("no_args", {}),
        ),
    ),
    # Mistral
    Example(
        family="Mistral, up to v10",
        source=VLLM + "tests/tool_parsers/test_mistral_tool_parser.py",
        specials=MISTRAL[:1],
        output='Hello[TOOL_CALLS] [{"name": "add", "arguments":{"a": 1, "b": 2}}, '
        '{"arguments":{"name": "John Doe"}, "name": "get_age"}]',
        text="Hello",
        calls=(("add", {"a": 1, "b": 2}), ("get_age", {"name": "John Doe"})),
    ),
    Example(
        family="Mistral, up to v10",
        source=VLLM + "tests/tool_parsers/test_mistral_tool_parser.py",
        specials=MISTRAL[:1],
        output="[TOOL_CALLS] not json at all",
        text="[TOOL_CALLS] not json at all",
    ),
    Example(
        family="Mistral, v11 and later",
        source=VLLM + "tests/tool_parsers/test_mistral_tool_parser.py",
        specials=MISTRAL,
        output='[TOOL_CALLS]add{"a": 3.5, "b": 4}[TOOL_CALLS]multiply{"a": 3, "b": 6}',
        calls=(("add", {"a": 3.5, "b": 4}), ("multiply", {"a": 3, "b": 6})),
    ),
    Example(
        family="Mistral, v11 and later",
        source="mlx-lm 0.32: mlx_lm/tool_parsers/mistral.py",
        specials=MISTRAL,
        output='[TOOL_CALLS]get_weather[ARGS]{"city": "Tokyo"}[TOOL_CALLS]get_time[CALL_ID]a1b2c3d4e[ARGS]'
        '{"timezone": "Asia/Tokyo"}',
        calls=TWO,
    ),
    Example(
        family="Magistral, Ministral 3",
        source=VLLM + "tests/reasoning/test_mistral_reasoning_parser.py",
        specials=MISTRAL,
        output="[THINK]This\nThat[/THINK]This is the rest\nThat",
        reasoning="This\nThat",
        text="This is the rest\nThat",
    ),
    Example(
        family="Magistral, Ministral 3",
        source=VLLM + "tests/reasoning/test_mistral_reasoning_parser.py",
        specials=MISTRAL,
        output="This is a reasoning section[/THINK]This is the rest",
        reasons=True,
        reasoning="This is a reasoning section",
        text="This is the rest",
    ),
    # Hermes and its many relatives
    Example(
        family="Hermes, Qwen 2.5, Qwen 3",
        source=VLLM + "tests/tool_parsers/test_granite4_tool_parser.py",
        specials=HERMES,
        output='Here goes: \n<tool_call> {"name": "find_bbox", "arguments": "{\\"type\\": \\"latlong\\"}"} </to'
        "ol_call> Now "
        '<tool_call> {"name": "get_stock_price", "arguments": {}} </tool_call>',
        text="Here goes: \nNow ",
        calls=(("find_bbox", {"type": "latlong"}), ("get_stock_price", {})),
    ),
    Example(
        family="Hermes, Qwen 2.5, Qwen 3",
        source=VLLM + "tests/reasoning/test_deepseekr1_reasoning_parser.py",
        specials=(*THINK, *HERMES),
        output="<think>This is a reasoning section</think>This is the rest",
        reasoning="This is a reasoning section",
        text="This is the rest",
    ),
    Example(
        family="Qwen 3 Coder, Qwen 3.5, Nemotron 3, Step 3.5",
        source=VLLM + "tests/tool_parsers/test_qwen3coder_tool_parser.py",
        specials=HERMES,
        output="Sure! Let me check the weather for you.<tool_call>\n<function=get_current_weather>\n<parameter="
        "city>\n"
        "Dallas\n</parameter>\n<parameter=state>\nTX\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n"
        "<function=get_current_weather>\n<parameter=city>\nOrlando\n</parameter>\n</function>\n</tool_call>",
        text="Sure! Let me check the weather for you.",
        calls=(
            ("get_current_weather", {"city": "Dallas", "state": "TX"}),
            ("get_current_weather", {"city": "Orlando"}),
        ),
    ),
    Example(
        family="Qwen 3 Coder, Qwen 3.5, Nemotron 3, Step 3.5",
        source=VLLM + "tests/tool_parsers/test_qwen3coder_tool_parser.py",
        specials=HERMES,
        output="<tool_call>\n<function=calculate_area>\n<parameter=shape>\nrectangle\n</parameter>\n<parameter="
        "dimensions>"
        '\n{"width": 10, \n "height": 20}\n</parameter>\n<parameter=precision>\n2\n</parameter>\n</function>\n<'
        "/tool_call>",
        parameters={
            "shape": {"type": "string"},
            "dimensions": {"type": "object"},
            "precision": {"type": "integer"},
        },
        calls=(("calculate_area", {"shape": "rectangle", "dimensions": {"width": 10, "height": 20}, "precision": 2}),),
    ),
    Example(
        family="Qwen 3 Coder, Qwen 3.5, Nemotron 3, Step 3.5",
        source=VLLM + "tests/tool_parsers/test_qwen3coder_tool_parser.py",
        specials=HERMES,
        template="<tool_call>\n<function=",
        output="<function=get_current_weather>\n<parameter=city>\nDallas\n</parameter>\n<parameter=state>\nTX\n"
        "</parameter>\n</function>\n</tool_call>",
        calls=(("get_current_weather", {"city": "Dallas", "state": "TX"}),),
    ),
    Example(
        family="GLM 4.5 to 4.7",
        source=VLLM + "tests/tool_parsers/test_glm47_moe_tool_parser.py",
        specials=(*HERMES, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
        output="Checking.<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Beijing</arg_value>\n</too"
        "l_call>"
        "<tool_call>get_current_date</tool_call>",
        text="Checking.",
        calls=(("get_weather", {"city": "Beijing"}), ("get_current_date", {})),
    ),
    # Seed
    Example(
        family="Seed-OSS",
        source=VLLM + "tests/tool_parsers/test_seed_oss_tool_parser.py",
        specials=SEED,
        output="<seed:think>\nGot it. The format is <function=get_weather>. Let me go with that.</seed:think><s"
        "eed:tool_call>"
        "\n<function=get_weather>\n<parameter=location>Barcelona, Spain</parameter>\n<parameter=unit>celsius</p"
        "arameter>\n"
        "</function>\n</seed:tool_call>",
        reasoning="Got it. The format is <function=get_weather>. Let me go with that.",
        calls=(("get_weather", {"location": "Barcelona, Spain", "unit": "celsius"}),),
    ),
    # DeepSeek
    Example(
        family="DeepSeek V3, R1",
        source=VLLM + "tests/tool_parsers/test_deepseekv3_tool_parser.py",
        specials=DEEPSEEK,
        output="Let me check the weather for you.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get"
        "_weather\n"
        '```json\n{"city": "Tokyo", "unit": "celsius"}\n```<｜tool▁call▁end｜><｜tool▁call▁begin｜>'
        'function<｜tool▁sep｜>search_hotels\n```json\n{"location": "Tokyo"}\n```<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜>",
        text="Let me check the weather for you.",
        calls=(("get_weather", {"city": "Tokyo", "unit": "celsius"}), ("search_hotels", {"location": "Tokyo"})),
    ),
    Example(
        family="DeepSeek V3, R1",
        source=VLLM + "tests/tool_parsers/test_deepseekv3_tool_parser.py",
        specials=DEEPSEEK,
        output="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Tokyo"\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        flawed=True,
        text="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Tokyo"\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ),
    Example(
        family="DeepSeek V3.1",
        source=VLLM + "tests/tool_parsers/test_deepseekv31_tool_parser.py",
        specials=DEEPSEEK,
        output='some prefix text<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>foo<｜tool▁sep｜>{"x":1}<｜tool▁call▁end｜>'
        '<｜tool▁call▁begin｜>bar<｜tool▁sep｜>{"y":2}<｜tool▁call▁end｜><｜tool▁calls▁end｜> some suffix text',
        text="some prefix textsome suffix text",
        calls=(("foo", {"x": 1}), ("bar", {"y": 2})),
    ),
    Example(
        family="DeepSeek V3.1",
        source=VLLM + "tests/tool_parsers/test_deepseekv31_tool_parser.py",
        specials=DEEPSEEK,
        output="Let me look that up.<｜tool▁calls▁begin｜>get_weather",
        text="Let me look that up.<｜tool▁calls▁begin｜>get_weather",
    ),
    Example(
        family="DeepSeek V3.2",
        source=VLLM + "tests/tool_parsers/test_deepseekv32_tool_parser.py",
        specials=("｜DSML｜", *THINK),
        output='Sure! <｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter '
        'name="location" string="true">SF</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">42'
        "</｜DSML｜parameter>\n"
        '</｜DSML｜invoke>\n<｜DSML｜invoke name="get_time">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
        text="Sure! ",
        calls=(("get_weather", {"location": "SF", "days": 42}), ("get_time", {})),
    ),
    # Kimi
    Example(
        family="Kimi K2",
        source=VLLM + "tests/tool_parsers/test_kimi_k2_tool_parser.py",
        specials=KIMI,
        output="Compare weather. <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0 "
        '<|tool_call_argument_begin|>{"city": "<div>content</div>"}<|tool_call_end|><|tool_call_begin|>get_news:1 '
        '<|tool_call_argument_begin|>{\n  "topic": "technology"\n} <|tool_call_end|><|tool_calls_section_end|>',
        text="Compare weather. ",
        calls=(("get_weather", {"city": "<div>content</div>"}), ("get_news", {"topic": "technology"})),
    ),
    Example(
        family="Kimi K2",
        source=VLLM + "tests/tool_parsers/test_kimi_k2_tool_parser.py",
        specials=KIMI,
        output='<|tool_calls_section_begin|><|tool_call_begin|>functions.bad:0 <|tool_call_argument_begin|>{"ci'
        'ty": "Beijing"'
        '<|tool_call_end|><|tool_call_begin|>functions.good:1 <|tool_call_argument_begin|>{"city": "Shanghai"}'
        "<|tool_call_end|><|tool_calls_section_end|>",
        flawed=True,
        text="<|tool_calls_section_begin|><|tool_call_begin|>functions.bad:0 <|tool_call_argument_begin|>"
        '{"city": "Beijing"',
        calls=(("good", {"city": "Shanghai"}),),
    ),
    Example(
        family="Kimi K3",
        source="mlx-lm 0.32: mlx_lm/tool_parsers/kimi_k3.py",
        specials=K3,
        output="<|open|>think<|sep|>hm<|close|>think<|sep|><|open|>response<|sep|>Look:<|close|>response<|sep|>"
        "<|open|>tools"
        '<|sep|><|open|>call tool="get_weather" index="1"<|sep|><|open|>argument key="city" type="string"<|sep|>Tokyo'
        "<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|><|close|>message<|sep|>",
        reasoning="hm",
        text="Look:",
        calls=WEATHER,
    ),
    Example(
        family="Kimi K3",
        source=VLLM + "tests/tool_parsers/test_kimi_k3_tool_parser.py",
        specials=K3,
        output="Hello<|close|>message<|sep|>",
        text="Hello",
    ),
    # MiniMax
    Example(
        family="MiniMax M2",
        source=VLLM + "tests/tool_parsers/test_minimax_m2_tool_parser.py",
        specials=("<minimax:tool_call>", "</minimax:tool_call>", *THINK),
        output='Let me check. <minimax:tool_call><invoke name="get_weather"><parameter name="city">Seattle</par'
        "ameter>"
        '<parameter name="days">5</parameter></invoke><invoke name="get_stock"><parameter name="ticker">AAPL</p'
        "arameter>"
        "</invoke></minimax:tool_call>",
        text="Let me check. ",
        calls=(("get_weather", {"city": "Seattle", "days": "5"}), ("get_stock", {"ticker": "AAPL"})),
    ),
    # Llama
    Example(
        family="Llama 3.1 to 3.3",
        source=VLLM + "tests/tool_parsers/test_llama3_json_tool_parser.py",
        specials=("<|python_tag|>",),
        output='{"name": "searchTool", "parameters": {"query": "test {value} [complex]"}}; '
        '{"name": "getOpenIncidentsTool", "parameters": {}}',
        calls=(("searchTool", {"query": "test {value} [complex]"}), ("getOpenIncidentsTool", {})),
    ),
    Example(
        family="Llama 3.1 to 3.3",
        source=VLLM + "tests/tool_parsers/test_llama3_json_tool_parser.py",
        specials=("<|python_tag|>",),
        output='<|python_tag|>{"name": "searchTool", "arguments": {"query": "test"}}',
        calls=(("searchTool", {"query": "test"}),),
    ),
    Example(
        family="Llama 3.1 to 3.3",
        source=VLLM + "tests/tool_parsers/test_llama3_json_tool_parser.py",
        specials=("<|python_tag|>",),
        output='{"parameters": {}}',
        text='{"parameters": {}}',
    ),
    Example(
        family="Llama 3.1 to 3.3",
        source=VLLM + "tests/tool_parsers/test_llama3_json_tool_parser.py",
        specials=("<|python_tag|>",),
        output='{"name": "get_weather"}',
        text='{"name": "get_weather"}',
    ),
    Example(
        family="Llama 4",
        source=VLLM + "tests/tool_parsers/test_llama4_pythonic_tool_parser.py",
        specials=("<|python_start|>", "<|python_end|>"),
        output="<|python_start|>[get_weather(city='LA', metric='C'), register_user(name='Doe', age=9, "
        "address={'city': 'LA'}, role=None, passed_test=True, aliases=['John', 'Johnny'])]<|python_end|>",
        calls=(
            ("get_weather", {"city": "LA", "metric": "C"}),
            (
                "register_user",
                {
                    "name": "Doe",
                    "age": 9,
                    "address": {"city": "LA"},
                    "role": None,
                    "passed_test": True,
                    "aliases": ["John", "Johnny"],
                },
            ),
        ),
    ),
    # Liquid
    Example(
        family="LFM2, LFM2.5",
        source=VLLM + "tests/tool_parsers/test_lfm2_tool_parser.py",
        specials=("<|tool_call_start|>", "<|tool_call_end|>"),
        output="<|tool_call_start|>[get_candidate_status(candidate_id='12345'), get_weather(), do_it(steps=[])]"
        "<|tool_call_end|>\nChecking the current status of candidate ID 12345.",
        text="Checking the current status of candidate ID 12345.",
        calls=(("get_candidate_status", {"candidate_id": "12345"}), ("get_weather", {}), ("do_it", {"steps": []})),
    ),
    # Google
    Example(
        family="Gemma 4",
        source=VLLM + "tests/tool_parsers/test_gemma4_tool_parser.py",
        specials=("<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>"),
        output='<|channel>thought\nhm<channel|>Let me. <|tool_call>call:f-1{nested:{inner:<|"|>value<|"|>},'
        'list:[<|"|>a<|"|>,<|"|>b<|"|>],count:42}<tool_call|><|tool_call>call:get_status{}<tool_call|>',
        reasoning="hm",
        text="Let me. ",
        calls=(("f-1", {"nested": {"inner": "value"}, "list": ["a", "b"], "count": 42}), ("get_status", {})),
    ),
    Example(
        family="Gemma 4",
        source=VLLM + "tests/reasoning/test_gemma4_reasoning_parser.py",
        specials=("<|tool_call>", "<tool_call|>", "<|channel>", "<channel|>"),
        output="<|channel>thousand reasons<channel|>Done",
        reasoning="thousand reasons",
        text="Done",
    ),
    Example(
        family="FunctionGemma",
        source=VLLM + "tests/tool_parsers/test_functiongemma_tool_parser.py",
        specials=("<start_function_call>", "<end_function_call>", "<escape>"),
        output="Let me check. <start_function_call>call:get_weather{location:<escape>San Francisco<escape>,"
        "unit:<escape>celsius<escape>}<end_function_call>",
        text="Let me check. ",
        calls=(("get_weather", {"location": "San Francisco", "unit": "celsius"}),),
    ),
    # IBM
    Example(
        family="Granite 3",
        source=VLLM + "tests/tool_parsers/test_granite_tool_parser.py",
        specials=("<|tool_call|>",),
        output='Let me check.\n<|tool_call|> [\n  {"name": "get_weather", "arguments": {"city": "Tokyo"}},\n'
        '  {"arguments": {"timezone": "Asia/Tokyo"}, "name": "get_time"}\n]',
        text="Let me check.\n",
        calls=TWO,
    ),
    Example(
        family="Granite 3",
        source=VLLM + "tests/reasoning/test_granite_reasoning_parser.py",
        template="Here is my thought process: Here is my response:",
        output="Here is my thought process:This\nThat Here is Here is my response: bar",
        reasoning="This\nThat Here is ",
        text="bar",
    ),
    Example(
        family="Granite 3",
        source=VLLM + "tests/reasoning/test_granite_reasoning_parser.py",
        template="Here is my thought process: Here is my response:",
        output="Here is my thought failure",
        text="Here is my thought failure",
    ),
    Example(
        family="Granite 4",
        source=VLLM + "tests/tool_parsers/test_granite4_tool_parser.py",
        specials=HERMES,
        output='<tool_call> {"name": "get_weather", "arguments": {"city": "Tokyo"}} </tool_call>',
        calls=WEATHER,
    ),
    # Cohere
    Example(
        family="Command R7B, Command A",
        source=VLLM + "tests/tool_parsers/test_cohere_command_tool_parser.py",
        specials=COHERE,
        output="<|START_THINKING|> i will call foo with query1<|END_THINKING|><|START_ACTION|>\n[\n"
        '    {"tool_call_id": "0", "tool_name": "foo", "parameters": {"query": "query1"}},\n'
        '    {"tool_call_id": "1", "tool_name": "bar", "parameters": {"x": 42}}\n]\n<|END_ACTION|>',
        reasoning="i will call foo with query1",
        calls=(("foo", {"query": "query1"}), ("bar", {"x": 42})),
    ),
    Example(
        family="Command R7B, Command A",
        source=VLLM + "tests/tool_parsers/test_cohere_command_tool_parser.py",
        specials=COHERE,
        output="<|START_THINKING|>This is a rainbow<|END_THINKING|>\n<|START_RESPONSE|>foo bar<|END_RESPONSE|>",
        reasoning="This is a rainbow",
        text="foo bar",
    ),
    # Others
    Example(
        family="Phi-4-mini",
        source=VLLM + "tests/tool_parsers/test_phi4mini_tool_parser.py",
        template="functools",
        output='functools[\n  {"name": "get_weather", "arguments": {"city": "Tokyo"}},\n'
        '  {"name": "get_time", "arguments": {"timezone": "Asia/Tokyo"}}\n]',
        calls=TWO,
    ),
    Example(
        family="InternLM 2.5, 3",
        source=VLLM + "tests/tool_parsers/test_internlm2_tool_parser.py",
        specials=("<|action_start|>", "<|plugin|>", "<|action_end|>"),
        output="Let me check the weather for you. <|action_start|><|plugin|>"
        '{"name": "get_weather", "parameters": {"city": "Tokyo"}}<|action_end|>',
        text="Let me check the weather for you. ",
        calls=WEATHER,
    ),
    Example(
        family="Hunyuan A13B",
        source=VLLM + "tests/tool_parsers/test_hunyuan_a13b_tool_parser.py",
        template="<tool_calls>",
        output='I will call the tool now. <tool_calls>[{"name": "get_weather", "arguments": {"city": "Tokyo"}}, '
        '{"name": "get_time", "arguments": {"timezone": "Asia/Tokyo"}}]</tool_calls>\nThank you!',
        text="I will call the tool now. Thank you!",
        calls=TWO,
    ),
    Example(
        family="Hunyuan A13B",
        source=VLLM + "tests/reasoning/test_hunyuan_reasoning_parser.py",
        template="<think></think><answer></answer>",
        output="<think>\nThis is a reasoning section\n</think>\n<answer>\nThis is the rest\n</answer>",
        reasoning="This is a reasoning section\n",
        text="This is the rest",
    ),
    Example(
        family="Jamba",
        source=VLLM + "tests/tool_parsers/test_jamba_tool_parser.py",
        template="<tool_calls>",
        output=' Sure! let me call the tool for you.<tool_calls>[\n    {"name": "get_current_weather", "arguments": '
        '{"city": "Dallas", "state": "TX"}}\n]</tool_calls>',
        text=" Sure! let me call the tool for you.",
        calls=(("get_current_weather", {"city": "Dallas", "state": "TX"}),),
    ),
    Example(
        family="Nemotron Nano 2",
        source=VLLM + "tests/tool_parsers/test_nemotron_json_tool_parser.py",
        template="<think></think><TOOLCALL>",
        output="<think>\nI need the weather for Tokyo.\n</think>\n"
        '<TOOLCALL>[{"name": "get_weather", "arguments": "{\\"city\\": \\"Tokyo\\"}"}]</TOOLCALL>',
        reasoning="I need the weather for Tokyo.\n",
        calls=WEATHER,
    ),
    Example(
        family="Nemotron Nano 2",
        source=VLLM + "tests/tool_parsers/test_nemotron_json_tool_parser.py",
        template="<TOOLCALL>",
        output='<TOOLCALL>[{"name": "broken", "arguments": {}</TOOLCALL>',
        text='<TOOLCALL>[{"name": "broken", "arguments": {}</TOOLCALL>',
        flawed=True,
    ),
    Example(
        family="Apertus",
        source=VLLM + "tests/tool_parsers/test_apertus_tool_parser.py",
        specials=("<|tools_prefix|>", "<|tools_suffix|>", "<|inner_prefix|>", "<|inner_suffix|>"),
        output='Sure! <|tools_prefix|>[{"get_weather": {"city": "Tokyo"}}, {"get_time": {"timezone": "Asia/Tokyo"}}]'
        "<|tools_suffix|>",
        text="Sure! ",
        calls=TWO,
    ),
    Example(
        family="Apertus",
        source=VLLM + "tests/reasoning/test_apertus_reasoning_parser.py",
        specials=("<|tools_prefix|>", "<|tools_suffix|>", "<|inner_prefix|>", "<|inner_suffix|>"),
        output="<|inner_prefix|>Let me think<|inner_suffix|>The answer",
        reasoning="Let me think",
        text="The answer",
    ),
    Example(
        family="Apertus",
        source=VLLM + "tests/reasoning/test_apertus_reasoning_parser.py",
        specials=("<|tools_prefix|>", "<|tools_suffix|>", "<|inner_prefix|>", "<|inner_suffix|>"),
        output="<think>not a thinking block</think>plain answer",
        text="<think>not a thinking block</think>plain answer",
    ),
    Example(
        family="Olmo 3",
        source=VLLM + "tests/tool_parsers/test_olmo3_tool_parser.py",
        template="<function_calls> <think></think>",
        output="<function_calls>get_weather(city='San Francisco', metric='celsius')\n"
        "do_something_cool(additional_data={}, role=null)</function_calls>",
        calls=(
            ("get_weather", {"city": "San Francisco", "metric": "celsius"}),
            ("do_something_cool", {"additional_data": {}, "role": None}),
        ),
    ),
    Example(
        family="LongCat",
        source=VLLM + "tests/tool_parsers/test_longcat_tool_parser.py",
        specials=("<longcat_tool_call>", "</longcat_tool_call>", "<longcat_think>", "</longcat_think>"),
        output='Let me check.\n<longcat_tool_call>{"name": "get_weather", "arguments": {"city": "Tokyo"}}'
        '</longcat_tool_call>\n<longcat_tool_call>{"name": "get_time", "arguments": {"timezone": "Asia/Tokyo"}}'
        "</longcat_tool_call>\nHere is the result.",
        text="Let me check.\nHere is the result.",
        calls=TWO,
    ),
    Example(
        family="MiniCPM 5",
        source=VLLM + "tests/tool_parsers/test_minicpm5xml_tool_parser.py",
        template='<function name="',
        output='Intro.\n<function name="get_weather"><param name="city">上海</param><param name="date"><![CDATA['
        "6\n27]]>"
        "</param></function>\nOutro.",
        text="Intro.\nOutro.",
        calls=(("get_weather", {"city": "上海", "date": "6\n27"}),),
    ),
    Example(
        family="Ernie 4.5",
        source=VLLM + "tests/reasoning/test_ernie45_reasoning_parser.py",
        specials=THINK,
        output="abc\nABC</think>def\nDEF",
        reasons=True,
        reasoning="abc\nABC",
        text="def\nDEF",
    ),
)
