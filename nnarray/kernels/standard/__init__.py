"""The definitions: every kernel in the array API standard alone, readable beside its formula."""
