"""Why a function is wrong: experiments on it, and wrong formulas that people write."""
