// Fetches the page's own fragment again and again; without scripts the page stays as it was loaded.
const main = document.getElementById("live");
const alive = document.getElementById("alive");
let busy = false;

async function refresh() {
  // Do not take a form away from somebody who is typing, nor a page from nobody who looks.
  if (busy || document.hidden || main.contains(document.activeElement)) return;
  busy = true;
  try {
    const response = await fetch(main.dataset.fragment);
    if (!response.ok) throw new Error(response.statusText);
    const scrolled = [...main.querySelectorAll("ol.story")].map((list) => list.scrollTop);
    main.innerHTML = await response.text();
    main.querySelectorAll("ol.story").forEach((list, index) => { list.scrollTop = scrolled[index] ?? 0; });
    alive.textContent = "live";
  } catch (error) {
    alive.textContent = "not connected: what is shown may be old";
  }
  busy = false;
}

main.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const body = { by: form.elements.by.value, reason: form.elements.reason.value };
  const answer = event.submitter.value;
  const response = await fetch(`/api/v1/rollouts/${form.dataset.rollout}/${answer}`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  if (response.ok) { document.activeElement.blur(); refresh(); return; }
  const problem = await response.json();
  form.insertAdjacentText("beforeend", problem.detail);
});

setInterval(refresh, 2000);
