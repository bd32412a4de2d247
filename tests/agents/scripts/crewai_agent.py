"""A crew of one agent with one tool, its model from the module that `routerctl init --harness crewai` wrote."""

import sys

from crewai import Agent, Crew, Task
from crewai.tools import tool
from routerd_llm import llm


@tool("reckon")
def reckon(text: str) -> str:
    """Work a sum out."""
    return f"tool-{eval(text)}"


agent = Agent(role="planner", goal="answer", backstory="You answer.", llm=llm("planner"), tools=[reckon], max_iter=4)
task = Task(description=sys.argv[1], expected_output="an answer", agent=agent)
sys.stdout.write(f"{Crew(agents=[agent], tasks=[task]).kickoff()}\n")
