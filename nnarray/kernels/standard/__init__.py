"""The definitions: every kernel in the array API standard only, next to its formula."""
