// The bandit of tutelage/bandit/, in the same steps: the page shows the numbers that the command prints.
// Names are those of the Python modules; policies are log-probabilities, one number an arm.

const POLICIES = ["student", "teacher", "rlaif", "sft"];
const LEVEL = 0.05;
const TEACHER = 2 ** 31;
const WORD = 2 ** 32;

// ---- world.py

function logSoftmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - top);
  return logits.map((logit) => logit - top - Math.log(sum));
}

function logCurve(numArms, peak, width) {
  return logSoftmax(Float64Array.from({ length: numArms }, (_, arm) => -((arm - peak) ** 2) / width));
}

function mixed(word) {
  word = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return word ^ (word >>> 16);
}

function randomWords(seed, start, num) {
  const key = mixed(seed ^ 0x9e3779b9);
  const words = new Uint32Array(num);
  for (let i = 0; i < num; i++) words[i] = mixed(mixed(start + i) ^ key);
  return words;
}

function bounds(logPolicy) {
  let sum = 0;
  const upto = Float64Array.from(logPolicy, (each) => Math.floor((sum += Math.exp(each)) * WORD));
  upto[upto.length - 1] = WORD;
  return upto;
}

function armFinder(logPolicy) {
  const upto = bounds(logPolicy);
  const starts = new Uint16Array(4096); // the first arm that a word with these 12 leading bits can be
  for (let bits = 0, arm = 0; bits < 4096; bits++) {
    while (upto[arm] <= bits * 2 ** 20) arm++;
    starts[bits] = arm;
  }
  return (word) => {
    let arm = starts[word >>> 20];
    while (upto[arm] <= word) arm++;
    return arm;
  };
}

function preferred(settings) {
  const { num_arms: numArms, temperature, label_noise: noise } = settings;
  return Float64Array.from({ length: 2 * numArms - 1 }, (_, place) => {
    const lead = place - numArms + 1;
    const right = temperature > 0 ? 1 / (1 + Math.exp(-Math.max(-700, Math.min(700, lead / temperature)))) : +(lead > 0);
    return noise + (1 - 2 * noise) * right;
  });
}

function drawPairs(settings, logStudent) {
  const num = settings.num_arms;
  const words = remembered("pairs", randomWords, settings.seed, 0, 3 * settings.num_pairs);
  const arm = armFinder(logStudent);
  const chance = preferred(settings);
  const wins = new Float64Array(num * num);
  let same = 0;
  for (let i = 0; i < words.length; i += 3) {
    const first = arm(words[i]);
    const second = arm(words[i + 1]);
    if (first === second) same++;
    else if (words[i + 2] < chance[first - second + num - 1] * WORD) wins[first * num + second]++;
    else wins[second * num + first]++;
  }
  let wrong = 0;
  for (let i = 0; i < num; i++) for (let j = i + 1; j < num; j++) wrong += wins[i * num + j];
  return { wins, same, wrong, labelled: settings.num_pairs - same };
}

function drawSamples(settings, logTeachers) {
  const sorted = (...which) => randomWords(...which).sort();
  const words = remembered("samples", sorted, settings.seed, TEACHER, settings.num_samples);
  const below = (bound) => {
    let [low, high] = [0, words.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (words[middle] < bound) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return logTeachers.map((teacher) => {
    const upto = Array.from(bounds(teacher), below);
    return Float64Array.from(upto, (count, arm) => (count - (arm ? upto[arm - 1] : 0)) / words.length);
  });
}

const drawn = new Map(); // the last words of either kind: most sliders leave them as they are
function remembered(kind, draw, ...which) {
  const name = which.join();
  if (drawn.get(kind)?.name !== name) drawn.set(kind, { name, words: draw(...which) });
  return drawn.get(kind).words;
}

// ---- learn.py; a generator pauses now and then, so that a page can stay alive

function* bradleyTerry(wins, numArms, lr, steps) {
  let total = 0;
  for (const count of wins) total += count;
  total = Math.max(total, 1);
  const won = new Float64Array(numArms);
  const met = [];
  for (let i = 0; i < numArms; i++) {
    for (let j = 0; j < numArms; j++) won[i] += wins[i * numArms + j] / total;
    const others = [];
    for (let j = i + 1; j < numArms; j++) if (wins[i * numArms + j] + wins[j * numArms + i] > 0) others.push(j);
    const row = Float64Array.from(others, (j) => (wins[i * numArms + j] + wins[j * numArms + i]) / total);
    met.push({ others: Uint16Array.from(others), row });
  }
  const reward = new Float64Array(numArms);
  for (let done = 0; done < steps; done += 250) {
    descend(reward, met, won, lr, Math.min(250, steps - done));
    yield;
  }
  return reward;
}

function descend(reward, met, won, lr, steps) {
  const num = reward.length;
  const odds = new Float64Array(num);
  const share = new Float64Array(num);
  for (let step = 0; step < steps; step++) {
    for (let i = 0; i < num; i++) odds[i] = Math.exp(reward[i]);
    share.fill(0);
    for (let i = 0; i < num; i++) {
      const { others, row } = met[i];
      let sum = 0;
      for (let k = 0; k < row.length; k++) {
        const part = row[k] / (odds[i] + odds[others[k]]);
        sum += part;
        share[others[k]] += part;
      }
      share[i] += sum;
    }
    for (let i = 0; i < num; i++) reward[i] += lr * (won[i] - odds[i] * share[i]);
  }
}

function* sft(shares, lr, steps) {
  const logits = new Float64Array(shares.length);
  const odds = new Float64Array(shares.length);
  for (let step = 0; step < steps; step++) {
    let sum = 0;
    for (let i = 0; i < odds.length; i++) sum += odds[i] = Math.exp(logits[i]);
    for (let i = 0; i < odds.length; i++) logits[i] += lr * (shares[i] - odds[i] / sum);
    if (step % 1000 === 999) yield;
  }
  return logSoftmax(logits);
}

function tilted(logStudent, reward, beta) {
  return logSoftmax(logStudent.map((each, arm) => each + reward[arm] / beta));
}

// ---- outcome.py

function* outcome(settings) {
  const logStudent = logCurve(settings.num_arms, settings.student_peak, settings.student_width);
  const gaps = gapsOf(settings);
  const peaks = [settings.teacher_peak, ...gaps.map((gap) => settings.student_peak + gap)];
  const logTeachers = peaks.map((peak) => logCurve(settings.num_arms, peak, settings.teacher_width));
  const pairs = drawPairs(settings, logStudent);
  yield;
  const shares = drawSamples(settings, logTeachers);
  yield;
  const reward = yield* bradleyTerry(pairs.wins, settings.num_arms, settings.reward_lr, settings.reward_steps);
  const logSft = [];
  for (const each of shares) logSft.push(yield* sft(each, settings.sft_lr, settings.sft_steps));
  const all = [logStudent, logTeachers[0], tilted(logStudent, reward, settings.beta), logSft[0]];
  const named = (measure) => Object.fromEntries(POLICIES.map((name, i) => [name, measure(all[i])]));
  const expected = named(expectedReward);
  const sweep = gaps.map((gap, i) => ({
    gap,
    sft: expectedReward(logSft[i + 1]),
    teacher: expectedReward(logTeachers[i + 1]),
  }));
  const found = {
    settings,
    counts: {
      "pairs labelled": pairs.labelled,
      "pairs of one arm, without a label": pairs.same,
      "labels that prefer the worse arm": pairs.wrong,
      "samples of the teacher": settings.num_samples,
    },
    expected_reward: expected,
    kl_from_student: named((policy) => kl(policy, logStudent)),
    likeliest_arm: named((policy) => policy.indexOf(policy.reduce((a, b) => Math.max(a, b)))),
    sweep,
    crossing: crossing(gaps, sweep.map((point) => point.sft), expected.rlaif),
    learned_reward: Array.from(reward),
    policies: named((policy) => Array.from(policy, Math.exp)),
  };
  found.says = [whoIsAhead(found), whereSftOvertakes(found), whatWasLearnt(found)];
  return found;
}

function gapsOf(settings) {
  const num = Math.floor((settings.num_arms - 1 - settings.student_peak) / settings.gap_step);
  return Array.from({ length: num + 1 }, (_, step) => step * settings.gap_step);
}

function expectedReward(logPolicy) {
  return logPolicy.reduce((sum, each, arm) => sum + Math.exp(each) * arm, 0);
}

function kl(logPolicy, logOther) {
  return logPolicy.reduce((sum, each, arm) => sum + Math.exp(each) * (each - logOther[arm]), 0);
}

function crossing(gaps, sftRewards, feedback) {
  for (let i = 1; i < gaps.length; i++) {
    if (sftRewards[i - 1] <= feedback && feedback < sftRewards[i]) {
      const share = (feedback - sftRewards[i - 1]) / (sftRewards[i] - sftRewards[i - 1]);
      return gaps[i - 1] + share * (gaps[i] - gaps[i - 1]);
    }
  }
  return null;
}

function whoIsAhead(found) {
  const { student, rlaif, sft: taught } = found.expected_reward;
  const moved = rlaif > student + LEVEL ? "lifts" : rlaif < student - LEVEL ? "lowers" : "hardly moves";
  const ahead = rlaif - taught;
  const who = ahead > 0 ? "feedback" : "SFT";
  const lead = Math.abs(ahead) < LEVEL ? "the two are level" : `${who} is ahead by ${Math.abs(ahead).toFixed(1)}`;
  return (
    `Feedback ${moved} the student's expected reward from ${student.toFixed(1)} to ${rlaif.toFixed(1)} ` +
    `(the best arm has ${found.settings.num_arms - 1}); SFT on the teacher's samples reaches ${taught.toFixed(1)}: ` +
    `${lead}.`
  );
}

function whereSftOvertakes(found) {
  const gap = found.settings.teacher_peak - found.settings.student_peak;
  const here = `this teacher's is ${Math.abs(gap).toFixed(1)} ${gap < 0 ? "below" : "above"}`;
  if (found.crossing !== null) {
    const from = found.crossing.toFixed(1);
    return `SFT overtakes feedback once the teacher's peak is ${from} arms above the student's; ${here}.`;
  }
  const last = found.sweep[found.sweep.length - 1];
  const ahead = last.sft > found.expected_reward.rlaif ? "SFT" : "Feedback";
  return (
    `${ahead} is ahead with every teacher of the sweep, whose peaks go up to ${last.gap.toFixed(1)} arms above the ` +
    `student's; ${here}.`
  );
}

function whatWasLearnt(found) {
  const reward = found.learned_reward;
  if (found.counts["pairs labelled"] === 0 || found.settings.reward_steps === 0)
    return "Nothing was learnt from feedback: no pair had two different arms, or no step was taken.";
  const best = found.settings.num_arms - 1;
  const peak = reward.indexOf(reward.reduce((a, b) => Math.max(a, b)));
  if (peak === best) return `The learned reward is highest at the best arm, ${best}.`;
  const above = 100 * found.policies.student.slice(peak + 1).reduce((a, b) => a + b, 0);
  const steps = found.settings.reward_steps.toLocaleString("en-US");
  return (
    `The learned reward is highest at arm ${peak} (${reward[peak].toFixed(2)}) and ${reward[best].toFixed(2)} at arm ` +
    `${best}, the best: the arms above ${peak} make ${above.toFixed(1)} % of the student's samples, and the rarer an ` +
    `arm, the less ${steps} steps moved it from 0.`
  );
}
