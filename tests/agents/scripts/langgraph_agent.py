"""A graph of a planner with a tool, its model from the module that `routerctl init --harness langgraph` wrote."""

import sys

from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from routerd_llm import llm


@tool
def reckon(text: str) -> str:
    """Work a sum out."""
    return f"tool-{eval(text)}"


model = llm("planner").bind_tools([reckon])
graph = StateGraph(MessagesState)
graph.add_node("planner", lambda state: {"messages": [model.invoke(state["messages"])]})
graph.add_node("tools", ToolNode([reckon]))
graph.add_edge(START, "planner")
graph.add_conditional_edges("planner", tools_condition)
graph.add_edge("tools", "planner")
for chunk, _ in graph.compile().stream({"messages": [("user", sys.argv[1])]}, stream_mode="messages"):
    if chunk.type == "AIMessageChunk":
        sys.stdout.write(str(chunk.content))
