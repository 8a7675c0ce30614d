"use strict";
// Questions of a served report: each answer comes as a piece of a page.
for (const form of document.querySelectorAll("form[data-question]")) {
  const question = form.dataset.question;
  const answer = document.querySelector(`[data-answer="${question}"]`);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    answer.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(question, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(given),
      });
      if (!response.ok) throw new Error();
      answer.innerHTML = await response.text();
      await window.whence.enhance(answer);
    } catch {
      answer.textContent = "There is no answer: whence explore has ended; start it again.";
    }
    answer.setAttribute("aria-busy", "false");
  });
}
