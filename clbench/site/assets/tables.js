// Tables of other pages: each table with the class "sortable" can be sorted by its headings.
"use strict";
for (const node of document.querySelectorAll("table.sortable")) {
  clbench.table(node, { paging: false, searching: false, info: false, layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null } });
}
