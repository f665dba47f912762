// Chooses the widget that suits the data of the run.

import {complain, config} from "/assets/net.js";
import {imageWidget} from "/assets/image.js";
import {classWidget, pairWidget, maskWidget} from "/assets/text.js";
import {continueWidget} from "/assets/continue.js";
import {rowWidget} from "/assets/row.js";
import {seriesWidget} from "/assets/series.js";
import {arrayWidget} from "/assets/array.js";

const texts = {on: continueWidget, answer: pairWidget, masked: maskWidget};
const widgets = {images: imageWidget, rows: rowWidget, series: seriesWidget, inputs: arrayWidget,
  texts: texts[config.writes] ?? classWidget};
const main = document.getElementById("main");
try {
  widgets[config.form](main);
  main.dataset.ready = config.form;
} catch (error) {
  complain(`the page broke off: ${error.message}`);
  throw error;
}
