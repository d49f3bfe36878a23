/* The argument in eight screens. Each asks for a prediction, then shows what happens.
 *
 * `look` names the panel to look at, `run` the action that the reveal starts, `theory` the option that the theory
 * expects, and `answer` makes the explanation from the facts that the page measured (see `facts` in jobs.js).
 */
"use strict";

const LESSON = [
  {
    title: "A world in which every class has two views",
    text: [
      "There are four classes, A to D. Each can be told by two features, its views: A1 and A2 tell class A. Think of the wheels and the windows of a car.",
      "A sample is a row of patches, and each patch shows one feature. Most samples show both views of their class strongly. A small fraction μ, the single-view samples, shows only one view; the other is almost gone. All samples also hold weak traces of other classes, as a cat may remind you of a car.",
    ],
    look: "samples",
    question: "A network knows A1, B1, C1 and D1 only. On which samples will it be wrong?",
    options: ["On half of all samples", "On about half of the single-view samples", "On no sample: one view is enough"],
    theory: 1,
    run: "nothing",
    answer: () =>
      "A sample with both views is classified by the view that the network knows. But half of the single-view samples show the other view, so they look more like the class whose traces they hold. Errors on this page are therefore counted in units of μ: ½ μ means that half of the single-view samples are wrong.",
  },
  {
    title: "The race between two views",
    text: [
      "Now a network is trained on the labels. Each class has twelve neurons with tiny random weights. Λ (capital lambda) is the overlap of a view with the neuron that likes it most. It starts near σ₀, and a view is learned once Λ is above the threshold ϱ.",
      "Below the threshold, growth feeds on itself: a view that is twice as large grows four times as fast. When one view classifies the samples, the gradient that drives both of them dies.",
    ],
    look: "race",
    question: "How many views of each class will the network learn?",
    options: ["Both, as both are equally useful", "Mostly one, the one that starts ahead", "None, as the labels do not name views"],
    theory: 1,
    run: "single",
    answer: (f) =>
      `In ${f.oneView} of ${f.classes} classes exactly one view is above ϱ, in ${f.bothViews} both are. In ${f.startTold} of the ${f.oneView} classes with one winner it was the view that was ahead at the start. Two views that start nearly level both get through; with many classes and tiny starts this becomes rare.`,
  },
  {
    title: "Training error 0, and yet",
    text: [
      "Some training samples are single-view, and half of them show a view that this network did not learn. Their labels still demand to be right. Every patch carries some noise of its own, different in every sample.",
    ],
    look: "curves",
    question: "What will the training error and the test error be in the end?",
    options: ["Both about ½ μ", "Both 0", "Training error 0, test error near ½ μ"],
    theory: 2,
    run: "single",
    answer: (f) =>
      `Training error ${f.trainError}, test error ${f.singleError}. The network has memorised those few samples by their noise, which says nothing about fresh samples. It comes out below ½ μ here because some classes learn both views, and because about a fifth of the single-view samples hold no trace that could mislead.`,
  },
  {
    title: "Another seed, another winner",
    text: [
      "Eight networks see exactly the same training samples. They differ only in the random numbers they start from.",
    ],
    look: "mosaic",
    question: "Will they all learn the same views?",
    options: ["Yes: same data, same views", "No: each draws its own winners", "They learn the same in class A, and differ elsewhere"],
    theory: 1,
    run: "seeds",
    answer: (f) =>
      `Look at one row of the table “Who learned what”: the winner changes from network to network. It is a lottery, drawn by the start. The mean test error of these networks is ${f.meanError}, and each fails on other samples.`,
  },
  {
    title: "The ensemble holds every view",
    text: [
      "Now average the outputs of the eight trained networks. Nothing is trained any more. A view counts in the average if enough of the networks know it.",
    ],
    look: "errors",
    question: "One network alone makes errors on about a third of the single-view samples. What does the average do?",
    options: ["About the same: an average of like networks", "About half of it", "Nearly none"],
    theory: 2,
    run: "ensemble",
    answer: (f) =>
      `The error of the ensemble is ${f.ensembleError}, against ${f.meanError} for one network. Take one view: the chance that all eight networks missed it is 1 in 256. If some error is left, a view had too few friends: the traces of another class outvote it.`,
  },
  {
    title: "Dark knowledge",
    text: [
      "Look at the soft outputs of the ensemble, the small bars beside the samples: how likely it holds each class, with differences made softer. The label comes first. But a trace of class C in a sample of class A lifts C a little, through either view of C.",
    ],
    look: "samples",
    question: "What can a new network learn from these soft outputs that the labels do not tell it?",
    options: ["Nothing: the labels are already right", "That both views of each class matter", "Which samples are single-view"],
    theory: 1,
    run: "ensemble",
    answer: () =>
      "A network that knows only C1 sees no reason why C is lifted in a sample with the trace C2. To match the soft outputs it has to learn C2. So samples of other classes teach the missing view, although every one of them is classified already. This is called dark knowledge.",
  },
  {
    title: "Distil the ensemble into one network",
    text: [
      "One new network, the student, first trains on the labels alone and draws its own winners. Then it also has to match the soft outputs of the ensemble on the same training samples. The page trains four such students, each by itself, and shows the race of the first.",
    ],
    look: "errors",
    question: "How good will such a single network become?",
    options: ["Like the ensemble, nearly", "Like any single network", "Half way between"],
    theory: 0,
    run: "distil",
    answer: (f) =>
      `The error of the students fell from ${f.ownError} to ${f.distilledError} on average; the ensemble has ${f.ensembleError}. In the race you see the losing views rise after the teacher sets in. What is left are views whose neurons all start too low, or a wrong neuron that answered the traces first. More classes make that rarer.`,
  },
  {
    title: "A teacher that is no better than its student",
    text: [
      "Last, the teacher is a single network with the errors you saw: network 1 teaches student 1, network 2 student 2, and so on. Each student has a start of its own. It learns its own winners from the labels and then, from its teacher's soft outputs, the teacher's winners. The teacher may only push outputs up.",
    ],
    look: "errors",
    question: "Teacher and student alone make errors of about the same size. How many will the taught student make?",
    options: ["The same: it cannot learn more than its teacher knows", "About half as many errors", "More errors: mistakes add up"],
    theory: 1,
    run: "self",
    answer: (f) =>
      `Four students have ${f.selfError} on average; before teaching they had ${f.ownError}, and their teachers have ${f.teacherError}. Two lotteries are drawn, and a student can hold the winners of both: ideally a quarter of the views are missing instead of half. With four classes one view more or less changes much, so try “New data” too.`,
  },
];

if (typeof module !== "undefined") module.exports = LESSON;
