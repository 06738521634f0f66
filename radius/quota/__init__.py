"""Fair use: what services used of their allowance, the steps they reached, and the CoA that follows."""
