"""Pure core of the ledger (money, accounts, journal, facts) and the stores behind it."""
