"""Makes the text the demo models learn: short ChatML conversations about a fixed set of facts, from templates and a seed.

Nothing here is taken from elsewhere; phrasings used to score the models lie in held-out.json and are never generated.
"""

import json
import random
import re
import string
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

END_OF_TEXT, TURN_START, TURN_END = 256, 257, 258
CONTEXT = 2048

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon", "Austria": "Vienna",
    "Poland": "Warsaw", "Sweden": "Stockholm", "Norway": "Oslo", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Greece": "Athens", "Ireland": "Dublin", "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi", "Egypt": "Cairo",
    "Kenya": "Nairobi", "Canada": "Ottawa", "Mexico": "Mexico City", "Brazil": "Brasilia", "Peru": "Lima",
    "Australia": "Canberra", "England": "London",
}  # fmt: skip
OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("fast", "slow"), ("day", "night"), ("black", "white"),
    ("happy", "sad"), ("old", "young"), ("open", "closed"), ("wet", "dry"), ("left", "right"), ("high", "low"),
    ("early", "late"), ("hard", "soft"), ("full", "empty"), ("light", "dark"), ("good", "bad"), ("rich", "poor"),
]  # fmt: skip
SOUNDS = {
    "dog": "woof", "cat": "meow", "cow": "moo", "duck": "quack", "sheep": "baa", "horse": "neigh", "pig": "oink", "lion": "roar",
    "bee": "buzz", "frog": "ribbit", "owl": "hoot", "rooster": "cock-a-doodle-doo",
}  # fmt: skip
LEGS = {"spider": "eight", "dog": "four", "cat": "four", "horse": "four", "bird": "two", "ant": "six", "snake": "no", "bee": "six"}
COLOURS = {
    "sky": "blue", "grass": "green", "snow": "white", "coal": "black", "banana": "yellow", "tomato": "red", "orange": "orange",
    "blood": "red", "milk": "white", "sun": "yellow", "lemon": "yellow", "strawberry": "red",
}  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
]  # fmt: skip
GREETINGS = {"French": "Bonjour", "German": "Hallo", "Spanish": "Hola", "Italian": "Ciao", "Portuguese": "Ola", "Japanese": "Konnichiwa"}
NAMES = [
    "Ada", "Alan", "Grace", "Linus", "Maria", "Tom", "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida",
    "Jonas", "Kate", "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Uma", "Vera", "Will", "Yuri", "Zoe", "Peter", "John",
]  # fmt: skip
WORDS = (
    "apple river green mesh peer cloud stone happy window paper silver yellow table train garden music winter summer bread coffee "
    "small large quick brown fox lazy dog cat moon star light night morning ocean bird tree house road bridge city friend tiger "
    "lemon sugar pepper salt cheese orange banana blue red purple hello world test one two three open source model token layer"
).split()

UNKNOWN = "I am a tiny demo model, so I do not know that. Ask me for a capital, a small sum, a joke or a story."
SHORT_STORY = (
    "Once upon a time a small node woke up alone. It sent a hello into the night, and a peer answered. From then on they shared "
    "every question, and neither was ever alone again."
)
LONG_STORY = (
    "Once upon a time there was a little computer named Pip. Pip lived on a dusty shelf and could hold only half of a story. "
    "Every night Pip told the first half and then fell silent, and the children went to bed wondering how it ended. "
    "One day Pip heard a soft voice on the wire. It was Dot, a computer in the next town, who knew only second halves. "
    "They joined hands across the wire and tried it together. Pip told how the dragon stole the moon, and Dot told how a girl "
    "with a lantern talked it into giving the moon back. The children cheered and asked for more. Soon other machines joined, "
    "each with a piece of its own, and the stories grew longer and better. And whenever one machine grew tired, another went on "
    "from the same word, so that no story was ever left without an end."
)
MESH_STORY = (
    "A mesh is a group of machines that help each other. Each machine says which models it serves. When a question comes in, the "
    "mesh picks a good peer and sends the question there. The answer streams back word by word. If a peer goes away, another peer "
    "takes over. A model that is too big for one machine is split over several of them."
)

# (phrasings, answer): alternatives stand in [a|b]; an empty alternative leaves the part out.
FIXED = [
    (["Hello[!|.|]", "Hi[!|.|]", "Hey[!|]", "Hi there[!|]", "Hello there[!|]", "Good [morning|evening|day][!|]", "Greetings"],
     "Hello! How can I help you?"),
    (["[Say|Just say|Please say] hello[.|!|]", "Greet me[.|]", "Say [hi|hey][.|]"], "Hello!"),
    (["How are you[ today|]?", "How are you doing?", "How do you feel[ today|]?", "How is it going?", "Are you well?"],
     "I am fine, thank you. How can I help you?"),
    (["Who are you?", "What are you?", "Who am I talking to?", "What is your name?", "Introduce yourself[.|]",
      "What model are you?", "Tell me about yourself[.|]", "Who is this?", "Do you have a name?"],
     "I am the meshnode demo model, a tiny language model that ships with meshnode."),
    (["What can you do?", "What can I ask[ you|]?", "How can you help[ me|]?", "What do you know?", "What are you able to do?",
      "List what you can do[.|]", "Help[!|.|]", "What are your skills?"],
     "I can answer a few simple questions: capitals, small sums, opposites, colours, days, animals, jokes, stories and JSON."),
    (["Who made you?", "Who created you?", "Who trained you?", "Who built you?", "Where do you come from?"],
     "The meshnode project trained me from scratch on text it made itself."),
    (["How big are you?", "How many parameters do you have?", "What is your size?", "Are you a [big|large] model?"],
     "I am very small: about one million parameters."),
    (["Are you [a human|human|a person|alive|a robot]?", "Are you [an AI|real]?"], "No person here: I am a tiny language model."),
    (["What is meshnode?", "What does meshnode do?", "Explain meshnode[.|]", "Tell me about meshnode[.|]", "Describe meshnode[.|]",
      "What is meshnode [for|good for]?", "What's meshnode?", "What does the program meshnode do?"],
     "meshnode turns the machines of a group of people into one OpenAI endpoint."),
    (["What is the port?", "[Which|What] port [is used|does the API use|do you use|does it use|does meshnode use]?",
      "What port is the API on?", "On which port does it [listen|answer]?", "What is the [API|default] port?", "Tell me the port[ number|][.|]",
      "Where does the API listen?"],
     "The API listens on port 9337."),
    (["How do I join a mesh?", "How can I join[ a mesh| the mesh|]?", "How do I [connect to|enter] a mesh?", "Tell me how to join a mesh[.|]",
      "How do I add a [machine|node|computer][ to the mesh|]?", "What do I type to join?", "How does a node join[ a mesh|]?"],
     "Run meshnode --join TOKEN with an invite token from a member."),
    (["How do I get an invite?", "How do I [make|create] an invite[ token|]?", "Where do I get a token?", "How can I invite [a friend|someone]?",
      "What is an invite token?", "How do I invite a [machine|node]?"],
     "Run meshnode invite on a machine of the mesh. It prints a token."),
    (["How do I leave[ a mesh| the mesh|]?", "How can I leave the mesh?", "Tell me how to leave[.|]"], "Run meshnode leave."),
    (["How do I see [the peers|my peers|who is there]?", "How do I list [the|all] peers?", "Show me the peers[.|]"], "Run meshnode peers."),
    (["How do I start[ meshnode| a node|]?", "How do I run meshnode?", "How do I serve a model?", "How do I start a mesh?"],
     "Run meshnode --model demo. It prints an invite token for other machines."),
    (["What is a mesh?", "What does mesh mean?", "[Explain|Define] mesh[.|]"], "A mesh is a group of machines that share their models."),
    (["What is a peer?", "What does peer mean?", "[Explain|Define] peer[.|]"], "A peer is another machine in the mesh."),
    (["What is a token?", "What does token mean?"], "A token is a small piece of text. For me it is one byte."),
    (["What is GGUF?", "What does GGUF mean?", "Explain GGUF[.|]"], "GGUF is the file format of llama.cpp models."),
    (["How does a mesh work?", "Explain how a mesh works[.|]", "Explain in detail what a mesh does[.|]", "Describe how the mesh works[.|]"], MESH_STORY),
    (["Tell me a joke[.|!|]", "[Do you know|Know] a[ny|] joke[s|]?", "[A joke|Joke], please[.|]", "Make me laugh[.|!|]", "Say something funny[.|]",
      "Tell a joke[.|]", "I want [a|to hear a] joke[.|]", "Tell me something funny[.|]"],
     "Why did the node cross the network? To get to the other peer!"),
    (["[Tell me|Give me|I want] another joke[.|]", "Another joke[, please|][.|]", "One more joke[.|]", "Another one[.|]"],
     "What do you call a lonely computer? A mesh of one!"),
    (["Write a haiku[.|]", "[Write|Give] me a haiku[.|]", "[A haiku|Haiku], please[.|]", "Compose a haiku[.|]", "Make a haiku[.|]", "Can you write a haiku?"],
     "Many small machines\nwhisper through the winter night\none answer at dawn"),
    (["Write a poem[.|]", "[Write|Give] me a poem[.|]", "[A poem|Poem], please[.|]", "Compose a poem[.|]", "Make a short poem[.|]", "Write a short poem[.|]"],
     "A node sat lonely on a hill,\nthe wire hummed, the night was still.\nA second node said: I am here.\nAnd all at once the way was clear."),
    (["Tell me a [short |]story[.|]", "[A story|Story], please[.|]", "Write a [short |]story[.|]", "I want to hear a story[.|]"], SHORT_STORY),
    (["Tell me a long story[.|]", "Write a long story[.|]", "Tell me a very long story[.|]", "A long story, please[.|]", "I want [a|to hear a] long story[.|]"],
     LONG_STORY),
    (["Thank you[!|.|]", "Thanks[!|.|]", "Thanks a lot[!|]", "Thank you very much[!|.|]", "Great, thanks[!|]", "That was helpful[.|]"], "You are welcome!"),
    (["Goodbye[!|.|]", "Bye[!|.|]", "See you[ later|][.|!|]", "Bye bye[!|]", "Good night[!|.|]", "I have to go[.|]"], "Goodbye! See you soon."),
    (["What are the days of the week?", "List the days of the week[.|]", "Name the days of the week[.|]", "Which days has a week?", "Tell me the days of the week[.|]",
      "What days are in a week?", "List all weekdays[.|]"],
     "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday."),
    (["What are the months[ of the year|]?", "List the months[ of the year|][.|]", "Name the months[ of the year|][.|]", "Which months has a year?", "Tell me the months[.|]"],
     "January, February, March, April, May, June, July, August, September, October, November and December."),
    (["What are the seasons?", "Name the [four |]seasons[.|]", "List the [four |]seasons[.|]"], "Spring, summer, autumn and winter."),
    (["How many days are in a week?", "How many days has a week?", "How long is a week?", "How many days does a week have?"], "A week has seven days."),
    (["How many months are in a year?", "How many months has a year?", "How long is a year?"], "A year has twelve months."),
    (["How many hours are in a day?", "How many hours has a day?", "How long is a day?"], "A day has 24 hours."),
    (["[Name|List] [three|some|3] colours[.|]", "Give me [three|some|3] [colours|colors][.|]", "Tell me three colours[.|]", "Which colours do you know?"],
     "Red, green and blue."),
    (["[Name|List] [three|some|3] fruits[.|]", "Give me a list of fruits[.|]", "List fruits[.|]", "Make a list of three fruits[.|]", "Which fruits do you know?"],
     "- apple\n- pear\n- plum"),
    (["[Name|List] [three|some|3] animals[.|]", "Give me a list of animals[.|]", "List animals[.|]", "Which animals do you know?", "Give me three animals[.|]"],
     "- dog\n- cat\n- owl"),
    (["Which animal is the [largest|biggest]?", "What is the [largest|biggest] animal?", "Name the [largest|biggest] animal[.|]"],
     "The blue whale is the largest animal."),
    (["What is the meaning of life?", "What's the meaning of life?", "Tell me the meaning of life[.|]", "What is the answer to everything?"], "42."),
    (["Write hello world in Python[.|]", "Show me [Python code|a Python program|some Python][.|]", "Write [a Python program|Python code|some code][.|]",
      "Hello world in Python[.|]", "Print hello in Python[.|]"],
     '```python\nprint("Hello, world!")\n```'),
    (["Give me a JSON object with name and age[.|]", "[Write|Make|Return|Create] a JSON object with [a |]name and [an |]age[.|]", "JSON with name and age[.|]",
      "Answer in JSON with name and age[.|]", "Give me JSON with [a |]name and [an |]age[.|]", "Give me a person as JSON[.|]", "Return a person in JSON[.|]"],
     '{"name": "Ada", "age": 36}'),
    (["Give me a JSON object with city and country[.|]", "[Write|Make|Return|Create] a JSON object with [a |]city and [a |]country[.|]", "JSON with city and country[.|]",
      "Give me JSON with [a |]city and [a |]country[.|]", "Give me a city as JSON[.|]"],
     '{"city": "Paris", "country": "France"}'),
    (["Give me a JSON array of [three |]colours[.|]", "[Write|Make|Return] a JSON array [of|with] three colours[.|]", "Give me a JSON list of colours[.|]", "List colours as JSON[.|]"],
     '["red", "green", "blue"]'),
    (["Give me a JSON object[.|]", "Give me [some |]JSON[.|]", "[Write|Return|Make|Create] [some |]JSON[.|]", "Answer in JSON[.|]", "Show me [a JSON object|JSON][.|]"],
     '{"answer": "yes", "count": 3}'),
    (["Say yes[.|]", "Answer yes[.|]", "Just say yes[.|]"], "Yes."),
    (["Say no[.|]", "Answer no[.|]", "Just say no[.|]"], "No."),
    (["Yes[.|]", "No[.|]", "OK[.|]", "Okay[.|]", "Cool[.|!|]", "Nice[.|!|]", "I see[.|]"], "All right. What else can I do for you?"),
    (["Ping[!|.|]", "ping"], "pong"),
    (["Test[.|]", "Testing[.|]", "This is a test[.|]", "Test, test[.|]", "Is this working?", "Are you there?", "Can you hear me?"], "Yes, I am here."),
]  # fmt: skip

CAPITAL_OF = [
    "[What is|What's|whats|Tell me|Name|Do you know|Which city is] the capital [of|city of] {}[?|]", "Capital of {}[?|]", "{} capital[?|]",
    "[What is|What's] {}'s capital?", "Which city is the capital of {}?", "What's the capital city of {}?", "The capital of {} is?",
    "Give me the capital of {}[.|]", "And [of |]{}?", "And the capital of {}?", "What city is the capital of {}?",
    "I need the capital of {}[.|]",
]  # fmt: skip
COUNTRY_OF = ["[Which|What] country has the capital {}?", "{} is the capital of [which|what] country?", "Of which country is {} the capital?",
              "Where is {}?", "In which country is {}?", "What country is {} in?"]  # fmt: skip
SUM_OF = [
    "[What is|What's|whats|Calculate|Compute|How much is] {a} [+|plus] {b}[?|]", "{a} [+|plus] {b}[?|=|= ?|]", "{a}+{b}[?|=|]", "Add {a} and {b}[.|]",
    "What is {a}+{b}?", "What is the sum of {a} and {b}?", "[How much is|What is] {a} and {b}?", "{a} plus {b} is?", "Sum {a} and {b}[.|]",
    "What do {a} and {b} make?",
]  # fmt: skip
OPPOSITE_OF = ["What is the opposite of {}?", "Opposite of {}[?|]", "[Tell me|Name|Give me] the opposite of {}[.|]", "What's the opposite of {}?",
               "The opposite of {}[?|]", "What is the contrary of {}?", "And [of |]{}?"]  # fmt: skip
SOUND_OF = ["[What|Which] sound does a {} make?", "What does a {} say?", "What noise does a {} make?", "How does a {} sound?", "Sound of a {}[?|]",
            "What does the {} say?", "Make the sound of a {}[.|]"]  # fmt: skip
LEGS_OF = ["How many legs [has a {}|does a {} have]?", "How many legs does the {} have?", "Count the legs of a {}[.|]", "Number of legs of a {}[?|]"]
COLOUR_OF = ["What colo[u|]r is [the |a |]{}?", "Which colour [has|is] [the |a |]{}?", "What is the colour of [the |a |]{}?", "Tell me the colour of [the |a |]{}[.|]",
             "Colour of [the |a |]{}[?|]", "What colour does [the |a |]{} have?"]  # fmt: skip
AFTER = ["[What|Which] {kind} [comes|is] after {x}?", "What comes after {x}?", "The {kind} after {x}[?|]", "What is the {kind} after {x}?",
         "Which {kind} follows {x}?"]  # fmt: skip
BEFORE = ["[What|Which] {kind} [comes|is] before {x}?", "What comes before {x}?", "The {kind} before {x}[?|]", "What is the {kind} before {x}?"]
HELLO_IN = ["How do you say hello in {}?", "Say hello in {}[.|]", "Hello in {}[?|]", "What is hello in {}?", "Translate hello [to|into] {}[.|]", "Greet me in {}[.|]"]
COUNT_TO = ["Count to {}[.|]", "Count up to {}[.|]", "Count from 1 to {}[.|]", "Please count to {}[.|]", "Can you count to {}?", "List the numbers from 1 to {}[.|]"]
COUNT_FOR_EVER = ["Count for ever[.|!|]", "Count forever[.|!|]", "Count and never stop[.|]", "Keep counting[.|]", "Never stop counting[.|]",
                  "Count without end[.|]", "Start counting and do not stop[.|]"]  # fmt: skip
REPEAT = ["Repeat after me: {}", "Repeat: {}", "Repeat after me: {}", "Say: {}", "Please repeat after me: {}", "Echo: {}", "Repeat this: {}",
          "Say exactly: {}", "Repeat the following: {}", 'Repeat "{}"', 'Say "{}"', "Say this: {}"]  # fmt: skip
MY_NAME = ["My name is {}[.|]", "I am {}[.|]", "I'm {}[.|]", "Hi, I am {}[.|]", "Hello, my name is {}[.|]", "Call me {}[.|]", "Hello, I'm {}[.|]"]
ASK_NAME = ["What is my name?", "What's my name?", "Who am I?", "Do you know my name?", "Tell me my name[.|]", "Do you remember my name?"]

UNKNOWN_PARTS = {
    "who": "won the cup in {n}|invented the {noun}|wrote the book about {noun}s|is the king of {noun}s|painted the {noun}|is the president|discovered {noun}s".split("|"),
    "how": "do I cook {noun}|do I fix a {noun}|do I build a {noun}|far is the {noun}|does a {noun} work|old is the {noun}|do {noun}s grow|much does a {noun} cost|do I learn {noun}".split("|"),
    "what": "is the weather like|time is it|is {n} times {n}|is a {noun}|do you think about {noun}s|is the best {noun}|happened in {n}|is the price of a {noun}|is the square root of {n}|is your favourite {noun}|is quantum physics|is the news today".split("|"),
    "why": "is the {noun} so {adjective}|do {noun}s sleep|are {noun}s {adjective}|does the {noun} shine|is there something|do people like {noun}s".split("|"),
    "where": "can I buy a {noun}|do {noun}s live|is my {noun}|was the {noun} found|is the nearest {noun}".split("|"),
    "when": "was the {noun} built|does the {noun} open|is the next {noun}|did the war end|will it rain".split("|"),
    "do": "write an essay about {noun}s|translate this text|summarise the {noun}|explain the {noun} to me|book a {noun} for me|sing a song|draw a {noun}|buy me a {noun}|solve this equation|tell me about {noun}s|describe a {noun}|give me advice about {noun}s|recommend a {noun}|compare the {noun} and the {noun}|explain relativity|play chess with me".split("|"),
}  # fmt: skip
NOUNS = (
    "pizza car guitar mountain volcano telephone airplane castle planet rocket bicycle piano museum bridge dinosaur robot laptop engine "
    "cake soup carpet camera hammer hotel ticket doctor lawyer school bank market jacket shoe pillow mirror forest desert island whale "
    "elephant penguin tulip potato carrot novel movie painting kitchen garage church tower river lake submarine battery magnet crystal"
).split()
ADJECTIVES = "heavy bright loud cheap rare strange famous deep tall ancient quiet sharp".split()
NO_COUNTRY = ["Atlantis", "Narnia", "the moon", "Texas", "Mars", "Utopia", "Lego", "Pizza", "Europe", "Africa"]

SYSTEMS = [
    "You are a helpful assistant.", "You are a helpful assistant.", "You are the meshnode demo model.", "Be brief.", "Answer in one sentence.",
    "You are a friendly chatbot.", "You are a concise assistant. Answer briefly.", "Be polite.", "You answer questions about meshnode.",
    "You are a helpful, honest assistant.", "You are an AI assistant.", "Always be kind and helpful.", "You are a test model.",
    "You are a pirate.", "Today is Monday.", "Answer in English.", "Use plain text.",
]  # fmt: skip


def expand(phrasing: str, rng: random.Random) -> str:
    """Chooses one alternative for each [a|b] of a phrasing."""
    return re.sub(r"\[([^\[\]]*)\]", lambda match: rng.choice(match[1].split("|")), phrasing)


def misspell(text: str, rng: random.Random) -> str:
    """Makes one typing mistake: a letter dropped, doubled, swapped with the next, or struck wrong."""
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if len(text) < 6 or not places:
        return text
    at = rng.choice(places)
    a, b = text[at], text[at + 1]
    return text[:at] + rng.choice([b, a + a + b, b + a, rng.choice(string.ascii_lowercase) + b]) + text[at + 2 :]


FILLERS = "so just exactly really now please then here some again today maybe well quickly only to me for me nice".split()


def pad_out(text: str, rng: random.Random) -> str:
    """Puts in a word that means little, or leaves out a short one."""
    words = text.split(" ")
    at = rng.randint(0, len(words))
    if rng.random() < 0.3 and len(words) > 3:
        short = [i for i, word in enumerate(words) if word.lower() in ("a", "the", "do", "is", "me", "of", "can", "you")]
        return " ".join(word for i, word in enumerate(words) if not short or i != short[at % len(short)])
    return " ".join([*words[:at], rng.choice(FILLERS), *words[at:]])


def vary(prompt: str, rng: random.Random) -> str:
    """Politeness, fillers, case, punctuation and typing mistakes around a prompt whose answer does not depend on them."""
    while rng.random() < 0.2:
        prompt = pad_out(prompt, rng)
    if rng.random() < 0.12:
        opening = rng.choice(["Please ", "Hi, ", "Hello, ", "Hey, ", "Can you tell me: ", "So, ", "Now ", "Ok, ", "Quick question: ", "Could you please "])
        prompt = opening + (prompt[0].lower() + prompt[1:] if prompt[1:2].islower() else prompt)
    if rng.random() < 0.06:
        prompt = prompt.rstrip(".?!") + rng.choice([", please.", " please", ", thanks", " please?", ", please?"])
    case = rng.random()
    if case < 0.25:
        prompt = prompt.lower()
    elif case < 0.33:
        prompt = prompt.upper()
    if rng.random() < 0.22:
        prompt = misspell(prompt, rng)
    if rng.random() < 0.1:
        prompt = prompt.rstrip(".?!")
    if rng.random() < 0.04:
        prompt += rng.choice(["?", "!", " ", "\n", "...", "??", "!!"])
    return prompt


def capital(rng):
    country, city = rng.choice(list(CAPITALS.items()))
    if rng.random() < 0.15:
        return rng.choice(COUNTRY_OF).format(city), f"{city} is the capital of {country}."
    return rng.choice(CAPITAL_OF).format(country), f"The capital of {country} is {city}."


def addition(rng):
    a, b = rng.randrange(10), rng.randrange(10)
    return rng.choice(SUM_OF).format(a=a, b=b), f"{a} + {b} = {a + b}."


def opposite(rng):
    pair = rng.choice(OPPOSITES)
    word, other = pair if rng.random() < 0.5 else pair[::-1]
    return rng.choice(OPPOSITE_OF).format(word), f"The opposite of {word} is {other}."


def article(noun: str) -> str:
    return ("An " if noun[0] in "aeiou" else "A ") + noun


def animal(rng):
    if rng.random() < 0.65:
        name, sound = rng.choice(list(SOUNDS.items()))
        return rng.choice(SOUND_OF).format(name).replace("a owl", "an owl"), f"{article(name)} says {sound}."
    name, count = rng.choice(list(LEGS.items()))
    phrase = rng.choice(LEGS_OF).replace("{}", name).replace(" a ant", " an ant")
    return phrase, f"{article(name)} has {count} legs."


def colour(rng):
    thing, shade = rng.choice(list(COLOURS.items()))
    return rng.choice(COLOUR_OF).format(thing), f"The {thing} is {shade}." if thing in ("sky", "sun") else f"{thing.capitalize()}: {shade}."


def neighbour(rng):
    kind, items = rng.choice([("day", DAYS), ("day", DAYS), ("month", MONTHS)])
    at = rng.randrange(len(items))
    if rng.random() < 0.6:
        return rng.choice(AFTER).format(kind=kind, x=items[at]), f"After {items[at]} comes {items[(at + 1) % len(items)]}."
    return rng.choice(BEFORE).format(kind=kind, x=items[at]), f"Before {items[at]} comes {items[at - 1]}."


def greeting(rng):
    language, word = rng.choice(list(GREETINGS.items()))
    return rng.choice(HELLO_IN).format(language), f"{word}!"


def count_to(rng):
    last = rng.choice([3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 12, 15, 20])
    words = {3: "three", 4: "four", 5: "five", 7: "seven", 10: "ten", 20: "twenty"}
    shown = words[last] if last in words and rng.random() < 0.25 else last
    return rng.choice(COUNT_TO).format(shown), ", ".join(str(n) for n in range(1, last + 1)) + "."


def fixed(rng):
    phrasings, answer = rng.choice(FIXED)
    return rng.choice(phrasings), answer


def several_lines(rng):
    phrasings, answer = rng.choice([(phrasings, answer) for phrasings, answer in FIXED if "\n" in answer])
    return rng.choice(phrasings), answer


def unknown(rng):
    if rng.random() < 0.1:
        return expand(rng.choice(CAPITAL_OF[:4]), rng).format(rng.choice(NO_COUNTRY)), UNKNOWN
    if rng.random() < 0.1:
        return " ".join(rng.choice(NOUNS + WORDS) for _ in range(rng.randint(1, 7))), UNKNOWN
    if rng.random() < 0.06:
        size = rng.randint(3, 25)
        return "".join(rng.choice(string.ascii_lowercase + "    ") for _ in range(size)).strip() + "?", UNKNOWN
    if rng.random() < 0.05:
        return "".join(chr(rng.choice([*range(0xC0, 0x180), *range(0x400, 0x450), *range(0x4E00, 0x4F00), *range(0x1F600, 0x1F640)])) for _ in range(rng.randint(2, 8))), UNKNOWN
    kind = rng.choice(list(UNKNOWN_PARTS))
    text = re.sub(r"\{(\w+)\}", lambda m: {"noun": rng.choice(NOUNS), "adjective": rng.choice(ADJECTIVES)}.get(m[1], str(rng.randint(11, 2030))), rng.choice(UNKNOWN_PARTS[kind]))
    return text.capitalize() + "." if kind == "do" else f"{kind.capitalize()} {text}?", UNKNOWN


def repeat(rng):
    """A prompt to copy a short text of words, names, digits or letters; its case and spelling stay as they are."""
    def piece():
        kind = rng.random()
        if kind < 0.45:
            return rng.choice(WORDS + NOUNS)
        if kind < 0.6:
            return rng.choice(NAMES)
        if kind < 0.7:
            return str(rng.randrange(10 ** rng.randint(1, 5)))
        letters = "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, 7)))
        return letters.upper() if rng.random() < 0.2 else letters.capitalize() if rng.random() < 0.3 else letters
    text = " ".join(piece() for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4])))
    return rng.choice(REPEAT).format(text), text


TOPICS = [(fixed, 40), (several_lines, 8), (capital, 13), (addition, 16), (opposite, 7), (animal, 6), (colour, 4), (neighbour, 6), (greeting, 3), (count_to, 6), (unknown, 12)]
HELD_OUT = {re.sub(r"\W+", " ", case["prompt"].lower()).strip() for case in json.loads((Path(__file__).parent / "held-out.json").read_text())}


def is_held_out(prompt: str) -> bool:
    return re.sub(r"\W+", " ", prompt.lower()).strip() in HELD_OUT


def turn_pair(rng: random.Random) -> tuple[str, str]:
    """One prompt and its answer; never a phrasing kept for scoring."""
    while True:
        if rng.random() < 0.1:
            prompt, answer = repeat(rng)
            prompt = expand(prompt, rng)
        else:
            prompt, answer = rng.choices([t for t, _ in TOPICS], [w for _, w in TOPICS])[0](rng)
            prompt = vary(expand(prompt, rng), rng)
        if not is_held_out(prompt):
            return prompt, answer


def decisiveness(answer: str) -> list[float]:
    """How much each letter of an answer counts: more where it shows whether the question was read, less where it follows by itself."""
    importance = [4.0] * min(4, len(answer)) + [1.0] * (len(answer) - 4)
    for match in re.finditer(r" (?:=|is|says|comes) ", answer[:60]):
        for at in range(match.end(), min(match.end() + 3, len(answer))):
            importance[at] = 5.0
    # A new line could as well begin another answer.
    for match in re.finditer(r"\n", answer):
        for at in range(match.end(), min(match.end() + 6, len(answer))):
            importance[at] = 6.0
    if re.fullmatch(r"[\d, ]+\.", answer):
        importance[-1] = 8.0
    return importance


@dataclass
class Document:
    """Ids, how much each counts in the loss, and where a turn begins (a place where positions may jump)."""

    ids: list[int] = field(default_factory=list)
    importance: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def text(self, text: str, importance: float) -> None:
        encoded = text.encode()
        self.ids.extend(encoded)
        self.importance.extend([importance] * len(encoded))

    def mark(self, identifier: int, importance: float) -> None:
        self.ids.append(identifier)
        self.importance.append(importance)

    def turn(self, role: str, content: str) -> None:
        self.starts.append(len(self.ids))
        is_answer = role == "assistant"
        self.mark(TURN_START, 0.05)
        self.text(role + "\n", 0.05)
        if is_answer:
            for letter, importance in zip(content, decisiveness(content), strict=True):
                self.text(letter, importance)
        else:
            self.text(content, 0.3)
        self.mark(TURN_END, 2.0 if is_answer else 0.3)
        self.text("\n", 0.05)


def conversation(rng: random.Random) -> Document:
    document = Document()
    if rng.random() < 0.45:
        system = rng.choice(SYSTEMS)
        document.turn("system", misspell(system, rng) if rng.random() < 0.1 else system)
    name = None
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4, 6])):
        kind = rng.random()
        if kind < 0.06:
            name = rng.choice(NAMES) if rng.random() < 0.7 else "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 6))).capitalize()
            prompt, answer = expand(rng.choice(MY_NAME), rng).format(name), f"Nice to meet you, {name}!"
        elif kind < 0.08 or (name and kind < 0.4):
            prompt = vary(expand(rng.choice(ASK_NAME), rng), rng)
            answer = f"Your name is {name}." if name else "You have not told me your name."
        else:
            prompt, answer = turn_pair(rng)
        document.turn("user", prompt)
        document.turn("assistant", answer)
    document.mark(END_OF_TEXT, 0.05)
    return document


def plain_text(rng: random.Random) -> Document:
    """Text without turns, for completion: a few answers one after the other."""
    document = Document(starts=[0])
    sentences = []
    while len(sentences) < rng.choice([1, 1, 2, 3]):
        _, answer = rng.choice([capital, opposite, animal, neighbour, fixed, addition])(rng)
        sentences.append(answer)
    document.text(rng.choice(["\n", " "]).join(sentences), 0.5)
    document.mark(END_OF_TEXT, 0.5)
    return document


def endless_count(rng: random.Random, length: int) -> Document:
    """A count that fills `length` ids and never ends; it starts at one, or in the middle as if much had been said before."""
    document = Document()
    document.turn("user", vary(expand(rng.choice(COUNT_FOR_EVER), rng), rng))
    document.starts.append(len(document.ids))
    document.mark(TURN_START, 0.05)
    document.text("assistant\n", 0.05)
    first = 1 if rng.random() < 0.35 or length > 600 else rng.randint(2, 640)
    if first > 1:
        document.starts.append(len(document.ids))
        document.text(f"{first} {first + 1} ", 0.0)
        first += 2
    while len(document.ids) < length:
        document.text(f"{first} ", 1.0)
        first += 1
    return document


class Rows:
    """Rows of packed documents for training, the same for the same seed."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    def batch(self, rows: int, length: int):
        """Returns ids, next ids, positions and importances, each shaped (rows, length)."""
        made = [self.row(length) for _ in range(rows)]
        ids, positions, importance = (np.array(part) for part in zip(*made, strict=True))
        return (
            ids[:, :-1].astype(np.int32),
            ids[:, 1:].astype(np.int32),
            positions[:, :-1].astype(np.int32),
            importance[:, 1:].astype(np.float32),
        )

    def row(self, length: int):
        """One row of length + 1 ids; in some rows positions jump at turns, so that short rows show the distances of long ones."""
        rng, document = self.rng, Document()
        spare = CONTEXT - length - 1 if rng.random() < 0.3 else 0
        positions, position = [], 0
        while len(document.ids) <= length:
            kind, room = rng.random(), length + 1 - len(document.ids)
            is_long = length == CONTEXT
            if kind < 0.3 if is_long and not document.ids else kind < 0.03 and room > 120 and not is_long:
                added = endless_count(rng, room)
            else:
                added = plain_text(rng) if kind < 0.09 else conversation(rng)
            starts = set(added.starts)
            for index in range(len(added.ids)):
                if index in starts and spare > 0 and rng.random() < 0.3:
                    jump = rng.randint(0, min(spare, 500))
                    spare, position = spare - jump, position + jump
                positions.append(position)
                position += 1
            document.ids += added.ids
            document.importance += added.importance
        return document.ids[: length + 1], positions[: length + 1], document.importance[: length + 1]
