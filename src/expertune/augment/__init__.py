"""Write more questions: cut spans from answers, let small language models write, clean what came."""
