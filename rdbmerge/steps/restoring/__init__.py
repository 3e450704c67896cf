"""The parts of `restore`: what is looked at, sent, doubted, remembered and told while files go into a live target."""
