(function () {
  "use strict";
  var root = document.documentElement;
  var button = document.getElementById("theme");
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function current() {
    return root.getAttribute("data-theme") || (dark.matches ? "dark" : "light");
  }
  function label() {
    button.textContent = current() === "dark" ? "Light theme" : "Dark theme";
  }
  button.hidden = false;
  label();
  button.addEventListener("click", function () {
    root.setAttribute("data-theme", current() === "dark" ? "light" : "dark");
    label();
  });
  var all = document.getElementById("open-all");
  all.hidden = false;
  all.addEventListener("click", function () {
    var open = all.getAttribute("aria-pressed") !== "true";
    document.querySelectorAll("main details").forEach(function (d) { d.open = open; });
    all.setAttribute("aria-pressed", String(open));
  });
  function reveal() {
    var target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (var node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") { node.open = true; }
    }
    if (target) { target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", reveal);
  reveal();
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("main details").forEach(function (d) { d.open = true; });
  });
})();
