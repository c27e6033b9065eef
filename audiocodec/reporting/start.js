// Wakes the page up.

startTheme(document.getElementById("theme"));
startContents(document.getElementById("contents"));
document.querySelectorAll("table.sortable").forEach(startSorting);
document.querySelectorAll(".scroll").forEach(startScrolling);
document.querySelectorAll("select[data-shows]").forEach(startChoosing);
document.querySelectorAll("article.player").forEach(startPlayer);
for (const [name, start] of [["abx", startAbx], ["mushra", startMushra]]) {
  const form = document.querySelector(`form[data-test=${name}]`);
  if (form) start(form, document.querySelector(`[data-stage=${name}]`));
}
