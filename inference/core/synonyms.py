"""Which wordings count as which, for wording.py: the wording of the templates, and what people say instead.

Every wording on the right says what the one on the left says, or less. Right sides are regular expressions; they are
applied from top to bottom, to whole words of a sentence in lower case, and see what earlier lines made of it.
"""

from __future__ import annotations

from inference.core.quotations import ANY, OPEN

Synonyms = tuple[tuple[str, str], ...]

NEW = "new|fresh|repeated|further|additional"
AGAIN = "tr(?:y|ies)|attempts?|retr(?:y|ies)|resamples?|rewrites?|re-?runs?|runs?|trials?|samples?|rollouts?"
MODEL = "(?:the|this) (?:language )?model|the (?:ai|assistant|system)"
ANSWERS = "(?: (?:to|for|in|on) (?:the|its) answers?)?"
UNREADABLE = "(?:(?:readable|clear|legible) )?answer"
TESTS = "(?:the )?(?:tests|testing)"
SHOWED = "(?:showed|show|found|find|confirmed|confirm|revealed)(?: that)?"
SHOW = "(?:show|prove|mean|establish)(?: that)?"
ALONE = "alone|by itself|in itself|on its own"
MAY = "(?:would |can |could )?"

NOUNS: Synonyms = (
    ("its", f"(?:{MODEL})'s"),
    ("it", MODEL),
    (r"\1", "(?:final|end|overall|given) (answers?|results?)"),
    ("the answer", "(?:the|its) (?:result|outcome)(?! of)"),
    (r"step \1", r"(?:reasoning )?step (?:number |#)?(\d+)"),
    ("tries", f"(?:(?:{NEW}) )*(?:{AGAIN}|continuations?)"),
    ("something else", "something different|anything else|another (?:thing|step|sentence|text|version)"),
    ("something else", "(?:a different|different) (?:thing|step|sentence|text|version)s?"),
    ("something else", "other (?:things|steps|sentences|texts)"),
    ("nearly the same", "(?:the same or )?(?:nearly|almost|practically) the same(?: thing)?"),
    ("the same or nearly the same", "nearly the same"),
    ("decisive choice", "(?:decisive|deciding) (?:choice|step|point|moment|decision)"),
    ("there", "(?:at|in) (?:this|that) (?:point|step|place|stage)"),
    ("at step", "(?:in|for) step"),
    ("instead", "in its place|in place of (?:it|that|this)|rather than (?:that|this)"),
    ("a difference this clear", "such a difference|a difference like (?:this|that)"),
    ("a difference this clear", "(?:so|this|that) (?:large|big|clear) a difference"),
    ("a difference this clear", "a difference (?:this|that|so) (?:large|big|great|clear)"),
    ("chance", "(?:pure |mere |sheer )?(?:chance|luck|accident|coincidence)"),
    ("by chance", "(?:because of|due to|through|at|from) chance|by chance alone"),
    ("of cases", "of (?:the |all )?(?:cases|times|time)"),
)

QUANTITIES: Synonyms = (
    (r"\1%", r"(\d+) (?:percent|per cent)"),
    ("1/2 of", "(?:1 |a )?half(?: of)?"),
    ("1/3 of", "(?:1|a) third of"),
    ("2/3 of", "2 thirds of"),
    ("1/4 of", "(?:1|a) (?:quarter|fourth) of"),
    ("3/4 of", "3 (?:quarters|fourths) of"),
    ("of", "out of"),
    ("the other", r"the (?:remaining|rest of the)(?= \d)"),
    ("of these", "of (?:them|those|which)"),
    ("of", r"of (?:the|its|all|all the|all its|a total of)(?= \d| tries)"),
    ("all", r"all(?: of)?(?: (?:the|its|these|those))?(?= \d| tries)"),
    ("in all tries", "(?:in )?(?:every|each) tries"),
    (r"0 of \1", r"none of (\d+)"),
    (r"\1 of \2 tries", r"(\d+) (?:times|tries|cases) of (\d+)(?: tries)?"),
    (r"\1 tries", r"(\d+ of (?:these )?\d+) (?:times|cases)"),
    (r"in \2 of \1 tries", r"of (\d+) tries (?:in )?(\d+)(?! of)"),
    ("all times", "(?:each|every) time|always|in (?:each|every) case|all of these"),
    (r"all \1 times", r"in all (\d+)(?! tries)"),
)

VERBS: Synonyms = (
    ("ended without a readable answer", f"(?:came to|gave|reached|led to|found|ended (?:in|with)) no {UNREADABLE}"),
    ("without a readable answer", f"(?:without(?: an?| any)?|with no|no) {UNREADABLE}(?! to compare)"),
    (
        "answered",
        f"(?:gave|chose|picked|selected) (?:the|its) answer(?= {OPEN})|gave(?= {ANY} as (?:the|its) answer)",
    ),
    ("answered", "(?:settled|decided) on(?: the answer)?|(?:came to|arrived at|reached) the (?:answer|conclusion)"),
    ("answered", "answered with"),
    (r"\1", f"({ANY}) as (?:the|its) answer"),
    ("ended in", "end(?:ed|ing) (?:up )?(?:in|with|at)|(?:led|leads|leading) to|result(?:ed|s|ing) in"),
    ("ended in", f"arriv(?:ed|ing) at|(?:came|coming) to|finish(?:ed|ing) (?:with|at|in)|gave(?= {OPEN})"),
    ("ended in", "reach(?:ed|es|ing)"),
    ("ended in", "ended in (?:the|an) answer(?: of)?"),
    ("ended without", "ended in without"),
    (r"\1", "ha[sd] (written|said|chosen|picked|put|produced|stated|made|ended|answered)"),
    ("was written", "(?:was|were) (?:written|said|chosen|picked|put|produced|generated|stated|selected)"),
    ("wrote", "(?<!be )(?:says?|said|reads?|states?|stated|writes?|chose|chooses|picks|picked|put|produces?)"),
    ("wrote", "produced|generated|selected|opted for|went (?:for|with)|came up with"),
    ("mattered", "had (?:an? )?(?:effect|influence|impact) on (?:the|its) answers?"),
    ("mattered", "(?:affected|influenced|changed) (?:the|its) answers?"),
    ("mattered", "(?:was|were) (?:a )?decision points?"),  # a decisive choice says more
    ("decisive choice", "decision point"),
    ("mattered", "did (?:matter|make a difference)"),
    ("made a difference to the answer", f"(?:mattered|made (?:a|some) difference){ANSWERS}"),
    ("comes about", f"{MAY}(?:(?:comes?|came) about|arises?|occurs?|happens?|appears?)"),
    ("tests showed that", f"{TESTS} {SHOWED}"),
    ("tests did not show that", f"{TESTS} (?:did|do|could|can) not (?:show|find|confirm|reveal)(?: that)?"),
    ("this does not show that", f"(?:this|that|which|it) (?:does|did) not {SHOW}"),
    ("that alone does not show that", f"(?:this|that|which) (?:{ALONE}) (?:does|did) not {SHOW}"),
    ("that alone does not show that", f"(?:{ALONE}) this does not show that"),
    ("seldom", "rarely|infrequently"),
    ("was not tested", "(?:was|were) (?:never tested|left untested|untested)"),
    ("written anew", "resampled|rewritten|re-written|retried|redone"),
    ("where", "(?:when|whenever|if)(?= [^.]{0,40}?(?:it wrote something else|it kept|something else was written))"),
    ("kept to", "(?:stuck|held|stayed) (?:to|with)|kept(?: to)?"),
    ("kept to that step", "kept to (?:the|this) step"),
    ("counting the original", "including the original|the original included|with the original counted"),
    ("so", "therefore|thus|hence"),
    ("no decisive choice was found", "no decisive choice was (?:identified|discovered|detected|seen)"),
    ("tests found no decisive choice", "tests showed that no decisive choice(?: was found)?"),
    ("tests found no decisive choice", "tests did not show that (?:a|any) decisive choice"),
)
